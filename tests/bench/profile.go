package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
)

// profileSeconds is how long a CPU profile is; work that takes longer is seen at its beginning.
const profileSeconds = 8

// takeProfiles asks a process that was built with the tag pprof.
func takeProfiles(address, called string) (done func()) {
	_ = os.MkdirAll(filepath.Dir(called), 0o755)
	var taking sync.WaitGroup
	taking.Go(func() {
		fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, profileSeconds), called+" cpu.prof")
	})
	return func() {
		fetch("http://"+address+"/debug/pprof/allocs", called+" allocs.prof")
		taking.Wait()
	}
}

func fetch(url, file string) {
	answer, err := http.Get(url)
	if err == nil {
		var text []byte
		if text, err = io.ReadAll(answer.Body); err == nil {
			err = os.WriteFile(file, text, 0o600)
		}
		_ = answer.Body.Close()
	}
	if err != nil {
		fmt.Println("  no profile:", err)
	}
}
