package faults_test

import (
	"os"
	"strings"
)

// Bounds of a process after any scenario.
const (
	// spareWorkers is what a process may have of goroutines beyond those of one that has done nothing: for connections that callers and
	// receivers keep for a while.
	spareWorkers = 100
	maxResident  = 400 << 20
	maxFiles     = 400
)

// Bounds of the database after any scenario, in bytes.
const (
	// maxStored is what a database may hold beside deliveries: its schema, empty pages, indexes.
	maxStored = 64 << 20
	// maxPerDelivery is for a delivery with a part of its event, its body, and its records in the log, some of them on pages that are
	// half empty.
	maxPerDelivery = 16 << 10
	// maxWAL is SQLite's alone: what docs/operate.md says that it grows to under load, and a margin.
	maxWAL = 96 << 20
)

// noteIdle notes what a process has while it does nothing.
func (s *site) noteIdle() {
	s.Helper()
	s.alive(func(_ int, p *process) {
		if n, err := s.metric(p, "go_goroutines"); err == nil {
			s.idle = max(s.idle, n)
		}
	})
	if s.idle == 0 {
		s.Fatal("no process says how many goroutines it has")
	}
}

// checkBounds waits until nothing is held any more that the trouble had piled up.
func (s *site) checkBounds() {
	s.Helper()
	s.client.CloseIdleConnections()
	bounds := map[string]float64{"go_goroutines": s.idle + spareWorkers, "process_resident_memory_bytes": maxResident, "process_open_fds": maxFiles}
	s.alive(func(n int, p *process) {
		for name, limit := range bounds {
			var value float64
			var err error
			if poll(patience, func() bool {
				value, err = s.metric(p, name)
				return err == nil && value <= limit
			}) != nil {
				s.Errorf("I7: process %d has %s = %.0f, the limit is %.0f (%v)", n, name, value, limit, err)
			}
		}
	})
	stored, wal := s.stored()
	if limit := int64(maxStored + maxPerDelivery*s.receiver.taken()); stored > limit || wal > maxWAL {
		s.Errorf("I7: %d MiB are stored, the limit is %d, and %d MiB in SQLite's WAL", stored>>20, limit>>20, wal>>20)
	}
}

// stored is what the database holds, in bytes, and beside it what is in SQLite's WAL.
func (s *site) stored() (all, wal int64) {
	s.Helper()
	path, isFile := strings.CutPrefix(s.url, "sqlite:")
	if !isFile {
		return s.value(`SELECT pg_database_size(current_database())`), 0
	}
	return s.size(path), s.size(path + "-wal")
}

func (s *site) size(path string) int64 {
	s.Helper()
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return 0
	}
	if err != nil {
		s.Fatal(err)
	}
	return info.Size()
}
