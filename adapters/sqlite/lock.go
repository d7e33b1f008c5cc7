package sqlite

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrInUse says that another process serves the file.
var ErrInUse = errors.New("another process serves this database")

// Lock makes this process the only one that serves the file, until the returned function is called or the
// process ends in any way. Whoever served it before is then known to be gone.
func (db *DB) Lock() (unlock func() error, err error) {
	file, err := os.OpenFile(db.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the database: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (%s): %w", ErrInUse, db.path, err), file.Close())
	}
	return file.Close, nil
}
