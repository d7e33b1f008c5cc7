package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// inPlace fails while another file, or none, is where the one was that this process has open. SQLite goes on writing to that, and all of it
// would be gone with the process: a backup that was put back under it, or a folder that somebody cleared, would lose what is accepted.
func (db *DB) inPlace() error {
	there, err := os.Stat(db.path)
	if err == nil && os.SameFile(db.file, there) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return unavailable("was moved or deleted", fmt.Errorf("what is at %s is not the file that was opened there", db.path))
}
