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
	"strings"
)

// ErrKMS refuses the URI of a key management service.
var ErrKMS = errors.New("a KMS URI as master key is not supported by this build: give 32 bytes in base64")

// ErrKeyForm is the answer to a text that is no master key. It does not quote the text.
var ErrKeyForm = errors.New("a master key is the standard base64 of 32 bytes (44 characters)")

// keyFileMode lets nobody but the owner read the file.
const keyFileMode = 0o600

// maxKeyFile bounds what is read of a key file, in bytes; a key and a line break have 45.
const maxKeyFile = 256

// ParseKey reads a master key as ORDINAVO_MASTER_KEY and the key file hold it. It fails with ErrKMS or ErrKeyForm.
func ParseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "://") {
		return nil, ErrKMS
	}
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(key) != KeySize {
		return nil, ErrKeyForm
	}
	return key, nil
}

// LoadOrCreateKeyFile reads the master key in the file, or makes one when there is no file. It refuses a
// file that others than its owner may read or write, and one that holds anything but a key.
func LoadOrCreateKeyFile(path string) ([]byte, error) {
	key, err := loadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("make the master key file %s: %w", path, err)
		}
		key, err = loadKeyFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key file %s: %w", path, err)
	}
	return key, nil
}

func loadKeyFile(path string) (key []byte, err error) {
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
	// Windows has no such bits: access lists guard the file there.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("its mode is %04o, so others than its owner may use it: set it to %04o", info.Mode().Perm(), keyFileMode)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxKeyFile))
	if err != nil {
		return nil, err
	}
	return ParseKey(string(text))
}

// createKeyFile writes a new key beside the path and links it there once it is safely on disk, so that the
// path never shows half a key. When another process was first, its key stays.
func createKeyFile(path string) error {
	folder := filepath.Dir(path)
	draft, err := os.CreateTemp(folder, filepath.Base(path)+".*.new") // O_EXCL, mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	if err := writeKey(draft); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(folder)
}

func writeKey(file *os.File) error {
	key := make([]byte, KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	_, err := io.WriteString(file, base64.StdEncoding.EncodeToString(key)+"\n")
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncFolder makes the file's name as durable as its content.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" { // which cannot sync a folder
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
