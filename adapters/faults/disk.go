//go:build faults

package faults

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	_ "modernc.org/sqlite" // prepares the library
	sqlite3 "modernc.org/sqlite/lib"
)

// The shipped SQLite reaches its files through a table of functions. In a copy of it, hooks stand before the functions
// that read, write, truncate and sync a file, and that open and remove one.

func init() {
	if socket := os.Getenv("FAULTS_DISK"); socket != "" {
		if err := breakDisk(socket); err != nil {
			panic("FAULTS_DISK: " + err.Error())
		}
	}
}

// disk decides which calls fail.
type disk struct {
	mu       sync.Mutex
	calls    int // since it was armed
	fails    int // the call that fails; 0 is none
	lasting  bool
	failures int
	first    string // what the first failed call should have done
}

var theDisk disk

// fail counts a call and reports whether it is to fail.
func (d *disk) fail(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.fails == 0 || d.calls < d.fails || d.calls > d.fails && !d.lasting {
		return false
	}
	if d.failures == 0 {
		d.first = what
	}
	d.failures++
	return true
}

// ServeHTTP arms it by PUT ?call=n&lasting=bool, where n = 0 disarms it, and answers GET with how many calls
// came and failed since then, and what the first failed call was.
func (d *disk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Method == http.MethodPut {
		n, err := strconv.Atoi(r.FormValue("call"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.calls, d.fails, d.lasting, d.failures, d.first = 0, n, r.FormValue("lasting") == "true", 0, "-"
	}
	_, _ = fmt.Fprintln(w, d.calls, d.failures, d.first)
}

// breakDisk makes SQLite use the hooks and serves the socket until the process ends.
func breakDisk(socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &theDisk, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	tls := libc.NewTLS()
	usual := sqlite3.Xsqlite3_vfs_find(tls, 0)
	copied := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	name, err := libc.CString("faults")
	if err != nil || usual == 0 || copied == 0 {
		return fmt.Errorf("no table of functions: %w", err)
	}
	functions := at[sqlite3.Tsqlite3_vfs](copied)
	*functions = *at[sqlite3.Tsqlite3_vfs](usual)
	functions.FzName, functions.FpNext = name, 0
	usualOpen, usualDelete = function[opener](functions.FxOpen), function[deleter](functions.FxDelete)
	functions.FxOpen, functions.FxDelete = address(opener(openFile)), address(deleter(deleteFile))
	if rc := sqlite3.Xsqlite3_vfs_register(tls, copied, 1); rc != sqlite3.SQLITE_OK {
		return fmt.Errorf("register the hooks: %d", rc)
	}
	return nil
}

// The C functions behind the hooks, as Go calls them.
type (
	opener   = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleter  = func(tls *libc.TLS, vfs, name uintptr, syncFolder int32) int32
	mover    = func(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 // reads or writes
	truncate = func(tls *libc.TLS, file uintptr, size int64) int32
	syncer   = func(tls *libc.TLS, file uintptr, flags int32) int32
)

var (
	usualOpen     opener
	usualDelete   deleter
	usualRead     mover
	usualWrite    mover
	usualTruncate truncate
	usualSync     syncer
)

// at points to what is at an address outside of Go's memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// function makes the function at an address callable; address is its inverse. A function that lives as long as the process
// need not be kept alive.
func function[F any](address uintptr) F {
	holder := &struct{ uintptr }{address}
	return *(*F)(unsafe.Pointer(&holder.uintptr))
}

func address[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

func openFile(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	if theDisk.fail("open") {
		at[sqlite3.Tsqlite3_file](file).FpMethods = 0
		return sqlite3.SQLITE_CANTOPEN
	}
	rc := usualOpen(tls, vfs, name, file, flags, outFlags)
	if opened := at[sqlite3.Tsqlite3_file](file); rc == sqlite3.SQLITE_OK {
		opened.FpMethods = hooks(tls, opened.FpMethods)
	}
	return rc
}

// hooked has a copy with hooks for each table that files have: some lock and some do not. The functions behind the hooks are
// the same in all.
var hooked sync.Map

// hooks is the table of an open file, with hooks.
func hooks(tls *libc.TLS, usual uintptr) uintptr {
	if table, ok := hooked.Load(usual); ok {
		return table.(uintptr)
	}
	table := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
	functions := at[sqlite3.Tsqlite3_io_methods](table)
	*functions = *at[sqlite3.Tsqlite3_io_methods](usual)
	findUsual.Do(func() {
		usualRead, usualWrite = function[mover](functions.FxRead), function[mover](functions.FxWrite)
		usualTruncate, usualSync = function[truncate](functions.FxTruncate), function[syncer](functions.FxSync)
	})
	functions.FxRead, functions.FxWrite = address(mover(readFile)), address(mover(writeFile))
	functions.FxTruncate, functions.FxSync = address(truncate(truncateFile)), address(syncer(syncFile))
	first, _ := hooked.LoadOrStore(usual, table)
	return first.(uintptr)
}

var findUsual sync.Once

func deleteFile(tls *libc.TLS, vfs, name uintptr, syncFolder int32) int32 {
	if theDisk.fail("delete") {
		return sqlite3.SQLITE_IOERR_DELETE
	}
	return usualDelete(tls, vfs, name, syncFolder)
}

func readFile(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	if theDisk.fail("read") {
		return sqlite3.SQLITE_IOERR_READ
	}
	return usualRead(tls, file, buffer, n, offset)
}

// writeFile leaves half of what it fails to write.
func writeFile(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	if theDisk.fail("write") {
		_ = usualWrite(tls, file, buffer, n/2, offset)
		return sqlite3.SQLITE_IOERR_WRITE
	}
	return usualWrite(tls, file, buffer, n, offset)
}

func truncateFile(tls *libc.TLS, file uintptr, size int64) int32 {
	if theDisk.fail("truncate") {
		return sqlite3.SQLITE_IOERR_TRUNCATE
	}
	return usualTruncate(tls, file, size)
}

func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	if theDisk.fail("sync") {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return usualSync(tls, file, flags)
}
