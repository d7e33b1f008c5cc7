package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/adapters/seal"
)

func masterKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, seal.KeySize) }

func newSealer(t testing.TB, primary []byte, older ...[]byte) *seal.Sealer {
	t.Helper()
	s, err := seal.New(primary, older...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSeal(t testing.TB, s *seal.Sealer, plain string, place ...string) []byte {
	t.Helper()
	sealed, err := s.Seal([]byte(plain), place...)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func TestOpensWhereItWasSealed(t *testing.T) {
	s := newSealer(t, masterKey(1))
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		place := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "place")
		sealed, err := s.Seal(plain, place...)
		if err != nil {
			t.Fatal(err)
		}
		if opened, err := s.Open(sealed, place...); err != nil || !bytes.Equal(opened, plain) {
			t.Fatalf("got %q, %v", opened, err)
		}
		other := rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "other place")
		if _, err := s.Open(sealed, other...); !errors.Is(err, seal.ErrOpen) && !equal(place, other) {
			t.Fatalf("sealed for %q, it opens for %q: %v", place, other, err)
		}
	})
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestASwappedRowDoesNotOpen(t *testing.T) {
	s := newSealer(t, masterKey(1))
	sealed := mustSeal(t, s, "whsec_secret", "tenant-a", "signing-secret", "sub_1", "sec_1")
	if _, err := s.Open(sealed, "tenant-a", "signing-secret", "sub_1", "sec_1"); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string][]string{
		"another tenant":  {"tenant-b", "signing-secret", "sub_1", "sec_1"},
		"another purpose": {"tenant-a", "answer", "sub_1", "sec_1"},
		"another object":  {"tenant-a", "signing-secret", "sub_2", "sec_1"},
		"moved boundary":  {"tenant-a", "signing-secret", "sub_1sec_", "1"},
		"joined":          {"tenant-asigning-secretsub_1sec_1"},
		"shorter":         {"tenant-a", "signing-secret", "sub_1"},
		"longer":          {"tenant-a", "signing-secret", "sub_1", "sec_1", ""},
		"none":            nil,
	} {
		if plain, err := s.Open(sealed, place...); !errors.Is(err, seal.ErrOpen) || plain != nil {
			t.Errorf("%s opens it: %q, %v", name, plain, err)
		}
	}
}

func TestAChangedValueDoesNotOpen(t *testing.T) {
	s := newSealer(t, masterKey(1))
	sealed := mustSeal(t, s, "secret", "a")
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := s.Open(changed, "a"); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := s.Open(sealed[:i], "a"); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

func TestSealingTwiceGivesOtherBytes(t *testing.T) {
	s := newSealer(t, masterKey(1))
	if bytes.Equal(mustSeal(t, s, "secret", "a"), mustSeal(t, s, "secret", "a")) {
		t.Error("equal secrets can be told from their sealed values")
	}
}

func TestKeysRotate(t *testing.T) {
	before, after := newSealer(t, masterKey(1)), newSealer(t, masterKey(2), masterKey(1), masterKey(2))
	old, fresh := mustSeal(t, before, "old", "a"), mustSeal(t, after, "new", "a")
	if plain, err := after.Open(old, "a"); err != nil || string(plain) != "old" {
		t.Errorf("an older key's value gives %q, %v", plain, err)
	}
	if plain, err := newSealer(t, masterKey(2)).Open(fresh, "a"); err != nil || string(plain) != "new" {
		t.Errorf("the primary did not seal: %q, %v", plain, err)
	}
	if _, err := before.Open(fresh, "a"); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("a key that is not there opens: %v", err)
	}
	if bytes.Equal(old[:5], fresh[:5]) || !bytes.Equal(old[:5], mustSeal(t, newSealer(t, masterKey(1)), "x")[:5]) {
		t.Error("the first five bytes do not name the key")
	}
}

// A value sealed by an earlier build must open for ever: the derivation and the format are fixed.
func TestSealedValuesOutliveBuilds(t *testing.T) {
	sealed, err := base64.StdEncoding.DecodeString(sealedByAnEarlierBuild)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := newSealer(t, masterKey(1)).Open(sealed, "tenant-a", "signing-secret", "sub_1"); err != nil || string(plain) != "whsec_kept" {
		t.Errorf("got %q, %v", plain, err)
	}
}

const sealedByAnEarlierBuild = "AVuRIZjzsDzD8csHXLI+R3G1quVfFpV6Vj0JlShYJREmV1glHcrY5NWHiA=="

func TestKeysOfAnotherLengthAreRefused(t *testing.T) {
	for _, length := range []int{0, 16, 31, 33} {
		if _, err := seal.New(make([]byte, length)); err == nil {
			t.Errorf("%d bytes are taken as primary", length)
		}
		if _, err := seal.New(masterKey(1), make([]byte, length)); err == nil {
			t.Errorf("%d bytes are taken as an older key", length)
		}
	}
}

func TestParseKeys(t *testing.T) {
	text, old := base64.StdEncoding.EncodeToString(masterKey(7)), base64.StdEncoding.EncodeToString(masterKey(8))
	if keys, err := seal.ParseKeys(" " + text + "\n"); err != nil || len(keys) != 1 || !bytes.Equal(keys[0], masterKey(7)) {
		t.Errorf("got %x, %v", keys, err)
	}
	for _, both := range []string{text + "," + old, text + "\n" + old + "\n", text + " , " + old} {
		if keys, err := seal.ParseKeys(both); err != nil || len(keys) != 2 || !bytes.Equal(keys[0], masterKey(7)) || !bytes.Equal(keys[1], masterKey(8)) {
			t.Errorf("%q: got %x, %v", both, keys, err)
		}
	}
	for name, refused := range map[string]struct {
		text string
		why  error
	}{
		"KMS":      {"aws-kms://arn:aws:kms:eu-central-1:1:key/2", seal.ErrKMS},
		"short":    {base64.StdEncoding.EncodeToString(make([]byte, 31)), seal.ErrKeyForm},
		"long":     {base64.StdEncoding.EncodeToString(make([]byte, 33)), seal.ErrKeyForm},
		"hex":      {"0101010101010101010101010101010101010101010101010101010101010101", seal.ErrKeyForm},
		"empty":    {"", seal.ErrKeyForm},
		"none":     {" ,\n", seal.ErrKeyForm},
		"one bad":  {text + ",AAAA", seal.ErrKeyForm},
		"one KMS":  {text + ",gcp-kms://key", seal.ErrKMS},
		"unpadded": {text[:43], seal.ErrKeyForm},
		"and more": {text + "!", seal.ErrKeyForm},
	} {
		if _, err := seal.ParseKeys(refused.text); !errors.Is(err, refused.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every signature rests on it.
func TestEachSecretIsAnother(t *testing.T) {
	first, second := seal.NewSecret(), seal.NewSecret()
	if first.Equal(second) || first.Equal(secretOf("")) || second.Equal(secretOf("")) {
		t.Error("a new secret is one that was made before, or none")
	}
}

func TestKeyFileIsMadeOnce(t *testing.T) {
	for range 20 { // a race that one round may not show
		path := filepath.Join(t.TempDir(), "master.key")
		agreeOnOneKey(t, path)
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("got %v, %v", info, err)
		}
		if names, err := filepath.Glob(path + "*"); err != nil || len(names) != 1 {
			t.Errorf("left behind: %q, %v", names, err)
		}
	}
}

// agreeOnOneKey plays processes that start at the same moment.
func agreeOnOneKey(t *testing.T, path string) {
	keys := make([][]byte, 16)
	var starting sync.WaitGroup
	for i := range keys {
		starting.Go(func() {
			made, err := seal.LoadOrCreateKeyFile(path)
			if err != nil || len(made) != 1 {
				t.Error(err)
				return
			}
			keys[i] = made[0]
		})
	}
	starting.Wait()
	for _, key := range keys {
		if !bytes.Equal(key, keys[0]) || len(key) != seal.KeySize || bytes.Equal(key, make([]byte, seal.KeySize)) {
			t.Fatalf("keys differ or are none: %x", keys)
		}
	}
}

func TestKeyFileIsRefused(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(masterKey(1))
	for name, file := range map[string]struct {
		content string
		mode    os.FileMode
	}{
		"readable by the group": {good, 0o640},
		"writable by others":    {good, 0o602},
		"empty":                 {"", 0o600},
		"wrong length":          {good[:40], 0o600},
		"half of two keys":      {good + "\n" + good[:20], 0o600},
		"long":                  {string(bytes.Repeat([]byte("A"), 1<<16)), 0o600},
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" && file.mode != 0o600 {
				t.Skip("Windows has no such bits")
			}
			path := filepath.Join(t.TempDir(), "master.key")
			if err := errors.Join(os.WriteFile(path, []byte(file.content), 0o600), os.Chmod(path, file.mode)); err != nil {
				t.Fatal(err)
			}
			if key, err := seal.LoadOrCreateKeyFile(path); err == nil {
				t.Errorf("got the key %x", key)
			}
			if content, err := os.ReadFile(path); err != nil || string(content) != file.content {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := seal.LoadOrCreateKeyFile(t.TempDir()); err == nil {
		t.Error("a folder is taken for a key")
	}
	if _, err := seal.LoadOrCreateKeyFile(filepath.Join(t.TempDir(), "missing", "master.key")); err == nil {
		t.Error("a key was made in a folder that is not there")
	}
}

func BenchmarkOpen(b *testing.B) {
	s := newSealer(b, masterKey(1))
	sealed := mustSeal(b, s, "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1ub3BxcnN0dXY=", "tenant-123", "signing-secret", "sub_01J0000000000000000000000", "sec_01J0000000000000000000000")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(sealed, "tenant-123", "signing-secret", "sub_01J0000000000000000000000", "sec_01J0000000000000000000000"); err != nil {
			b.Fatal(err)
		}
	}
}

// A rotation may stop anywhere and go on: until it has ended, both keys are in the file.
func TestTheKeyFileIsRotated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	if err := seal.AddNewKey(path); err == nil {
		t.Fatal("a key that is not there was rotated")
	}
	load := func(count int) [][]byte {
		t.Helper()
		keys, err := seal.LoadOrCreateKeyFile(path)
		if err != nil || len(keys) != count {
			t.Fatalf("got %d keys, %v", len(keys), err)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Fatalf("got %v, %v", info, err)
		}
		return keys
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first := load(1)[0]
	ok(seal.AddNewKey(path))
	both := load(2)
	ok(seal.AddNewKey(path))
	again := load(2)
	if bytes.Equal(both[0], first) || !bytes.Equal(both[1], first) || !bytes.Equal(again[0], both[0]) || !bytes.Equal(again[1], first) {
		t.Errorf("from %x to %x to %x", first, both, again)
	}
	ok(seal.KeepNewestKey(path))
	ok(seal.KeepNewestKey(path))
	if last := load(1); !bytes.Equal(last[0], both[0]) {
		t.Errorf("%x stays of %x", last, both)
	}
	if names, err := filepath.Glob(path + "*"); err != nil || len(names) != 1 {
		t.Errorf("left behind: %q, %v", names, err)
	}
}

// The service reads its key after a rotation by root too, and finds it where it is kept.
func TestARotatedKeyFileStaysWhereAndWhoseItIs(t *testing.T) {
	kept, path := filepath.Join(t.TempDir(), "kept.key"), filepath.Join(t.TempDir(), "master.key")
	if _, err := seal.LoadOrCreateKeyFile(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept, path); err != nil {
		t.Fatal(err)
	}
	owner := os.Geteuid()
	if owner == 0 {
		owner = 65534 // nobody, in most systems
		if err := os.Chown(kept, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	before, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.RotateKeyFile(path, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(kept)
	if err != nil || len(after) != len(before) || bytes.Equal(after, before) {
		t.Errorf("where the link leads there are %d bytes, %v, changed: %v", len(after), err, !bytes.Equal(after, before))
	}
	info, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	if was, ok := info.Sys().(*syscall.Stat_t); !ok || int(was.Uid) != owner || info.Mode().Perm() != 0o600 {
		t.Errorf("it belongs to %v, mode %v", info.Sys(), info.Mode())
	}
}

// What was not sealed anew opens with the old key alone.
func TestARotationThatFailsKeepsTheOldKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	made, err := seal.LoadOrCreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("the database is away")
	for _, work := range []error{away, away, nil} {
		err := seal.RotateKeyFile(path, func() error {
			if keys, err := seal.LoadOrCreateKeyFile(path); err != nil || len(keys) != 2 || !bytes.Equal(keys[1], made[0]) {
				t.Errorf("while it works there are %d keys, %v", len(keys), err)
			}
			return work
		})
		keys, loadErr := seal.LoadOrCreateKeyFile(path)
		if !errors.Is(err, work) || loadErr != nil || (len(keys) == 2) != (work != nil) || bytes.Equal(keys[0], made[0]) {
			t.Errorf("after %v there are %d keys, %v, %v", work, len(keys), err, loadErr)
		}
	}
	// The old key may have become known, which is why it is rotated.
	if err := seal.RotateKeyFile(path, func() error { return os.WriteFile(path, []byte("overwritten"), 0o600) }); err == nil {
		t.Error("a rotation that could not end passes for one that has ended")
	}
	if err := seal.RotateKeyFile(filepath.Join(t.TempDir(), "none"), func() error { t.Error("it works without a key"); return nil }); err == nil {
		t.Error("a key that is not there was rotated")
	}
}

func TestCurrent(t *testing.T) {
	older, newer := newSealer(t, masterKey(1)), newSealer(t, masterKey(2), masterKey(1))
	old, err := older.Seal([]byte("x"), "a")
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := newer.Seal([]byte("x"), "a")
	if err != nil {
		t.Fatal(err)
	}
	if newer.Current(old) || !newer.Current(fresh) || !older.Current(old) || older.Current(fresh) || newer.Current(nil) {
		t.Error("what is current is not told from what is not")
	}
}
