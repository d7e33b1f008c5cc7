package seal

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unicode"
)

// ErrKMS refuses the URI of a key management service.
var ErrKMS = errors.New("a KMS URI as master key is not supported, since no KMS client is built in: give the key itself, 32 bytes in base64 (44 characters, like those of openssl rand -base64 32), for instance from the secret store that starts the process")

// ErrKeyForm refuses a text that is not a master key. It does not quote the text.
var ErrKeyForm = errors.New("a master key is the standard base64 of 32 bytes (44 characters); several are separated by commas, the newest first")

// keyFileMode lets nobody but the owner read the file.
const keyFileMode = 0o600

// maxKeyFile is how many bytes of a key file are read; a key and a line break have 45, and a rotation needs two.
const maxKeyFile = 256

// ParseKeys reads master keys as ORDINAVO_MASTER_KEY and the key file hold them, separated by commas or white space: the
// first seals, the others open what they sealed before. It fails with ErrKMS or ErrKeyForm.
func ParseKeys(text string) (keys [][]byte, err error) {
	if strings.Contains(text, "://") {
		return nil, ErrKMS
	}
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		key, err := base64.StdEncoding.Strict().DecodeString(part)
		if err != nil || len(key) != KeySize {
			return nil, ErrKeyForm
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, ErrKeyForm
	}
	return keys, nil
}

// Open makes a sealer of the keys in ORDINAVO_MASTER_KEY or, when that is empty, of those in the file. A file that is missing is made unless
// mayMake objects: beside a database that has a key, a new one would pass for it, and take its place in the next backup.
func Open(keys, file string, mayMake func() error) (*Sealer, error) {
	parsed, err := ParseKeys(keys)
	if keys == "" {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			if err := mayMake(); err != nil {
				return nil, fmt.Errorf("%w: there is no file %s", err, file)
			}
		}
		parsed, err = LoadOrCreateKeyFile(file)
	} else if err != nil {
		err = fmt.Errorf("ORDINAVO_MASTER_KEY: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return New(parsed[0], parsed[1:]...)
}

// LoadOrCreateKeyFile reads the master keys in the file, or makes one when there is no file. It refuses a
// file that anybody but its owner may read or write, and one that holds anything but keys.
func LoadOrCreateKeyFile(path string) (keys [][]byte, err error) {
	keys, err = loadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("make the master key file %s: %w", path, err)
		}
		keys, err = loadKeyFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key file %s: %w", path, err)
	}
	return keys, nil
}

// RotateKeyFile adds a new key to the file, runs work, and removes the old key once work has succeeded.
func RotateKeyFile(path string, work func() error) error {
	if err := AddNewKey(path); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	return KeepNewestKey(path)
}

// AddNewKey begins a rotation: it puts a new key before the one in the file. It leaves a file with several keys alone: a
// rotation was interrupted, and must be finished with the same keys.
func AddNewKey(path string) error {
	keys, err := loadKeyFile(path)
	if err == nil && len(keys) == 1 {
		err = replaceKeyFile(path, slices.Insert(keys, 0, newKey()))
	}
	if err != nil {
		return fmt.Errorf("begin the rotation of the master key in %s: %w", path, err)
	}
	return nil
}

// KeepNewestKey ends a rotation: only the first key stays in the file.
func KeepNewestKey(path string) error {
	keys, err := loadKeyFile(path)
	if err == nil {
		err = replaceKeyFile(path, keys[:1])
	}
	if err != nil {
		return fmt.Errorf("end the rotation of the master key in %s: %w", path, err)
	}
	return nil
}

func loadKeyFile(path string) (keys [][]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	// Windows has no such bits; access lists guard the file there.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("its mode is %04o, so others than its owner may use it: set it to %04o", info.Mode().Perm(), keyFileMode)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return ParseKeys(string(text))
}

// createKeyFile links a new key file to the path. If another process was first, its key stays.
func createKeyFile(path string) error {
	return putKeyFile(path, [][]byte{newKey()}, func(draft, path string) error {
		if err := os.Link(draft, path); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// replaceKeyFile replaces the file atomically, even if the process or the machine stops. It stays where a symbolic link leads, and its owner's:
// a rotation by root would else leave the service without its key.
func replaceKeyFile(path string, keys [][]byte) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	before, err := os.Stat(path)
	if err != nil {
		return err
	}
	return putKeyFile(path, keys, func(draft, path string) error {
		if was, ok := before.Sys().(*syscall.Stat_t); ok && int(was.Uid) != os.Geteuid() {
			if err := os.Chown(draft, int(was.Uid), int(was.Gid)); err != nil {
				return err
			}
		}
		return os.Rename(draft, path)
	})
}

// putKeyFile writes the keys to a draft beside the path and puts it in place once it is safely on disk, so that
// the path never shows half a key.
func putKeyFile(path string, keys [][]byte, put func(draft, path string) error) error {
	folder := filepath.Dir(path)
	draft, err := os.CreateTemp(folder, filepath.Base(path)+".*.new") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	if err := writeKeys(draft, keys); err != nil {
		return err
	}
	if err := put(draft.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

func newKey() []byte {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

func writeKeys(file *os.File, keys [][]byte) (err error) {
	for _, key := range keys {
		_, writeErr := io.WriteString(file, base64.StdEncoding.EncodeToString(key)+"\n")
		err = errors.Join(err, writeErr)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes the file's name as durable as its content.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // it cannot sync a folder
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
