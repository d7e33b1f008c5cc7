package postgres

import (
	"testing"
	"time"
)

// The queue is vacuumed after so many dead rows, one at a time, and the more seldom the longer that takes.
func TestTheQueueIsVacuumedForAPartOfTheTime(t *testing.T) {
	v, now := vacuums{}, time.Unix(1_000_000, 0)
	for _, dead := range []int{vacuumAfter - 1, 0} {
		if v.begin(dead, now) {
			t.Errorf("begun for %d more dead rows", dead)
		}
	}
	if !v.begin(1, now) {
		t.Fatal("not begun")
	}
	if v.begin(10*vacuumAfter, now.Add(time.Hour)) {
		t.Error("begun while another is under way")
	}
	ended := now.Add(time.Second)
	v.end(now, ended, mostLeft-1)
	if v.begin(0, ended.Add(vacuumShare*time.Second-1)) {
		t.Error("begun too soon after one that took a second")
	}
	if !v.begin(0, ended.Add(vacuumShare*time.Second)) {
		t.Error("what died meanwhile is forgotten")
	}
	v.end(ended, ended, mostLeft)
	if v.begin(vacuumAfter-1, ended.Add(time.Hour)) {
		t.Error("what was vacuumed is counted again")
	}
}

// What cannot be removed, since somebody reads as of before, is not read again and again.
func TestAVacuumInVainIsFollowedByALongRest(t *testing.T) {
	for took, rest := range map[time.Duration]time.Duration{
		10 * time.Millisecond: inVain * vacuumShare * 10 * time.Millisecond,
		time.Second:           vainRest,
		10 * time.Second:      vacuumShare * 10 * time.Second,
	} {
		v, now := vacuums{}, time.Unix(1_000_000, 0)
		v.begin(vacuumAfter, now)
		ended := now.Add(took)
		v.end(now, ended, mostLeft)
		if v.begin(vacuumAfter, ended.Add(rest-1)) {
			t.Errorf("after one in vain that took %s the next began within %s", took, rest)
		}
		if !v.begin(0, ended.Add(rest)) {
			t.Errorf("after one in vain that took %s there was none for longer than %s", took, rest)
		}
	}
}
