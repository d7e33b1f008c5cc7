package process

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
)

// Memory is how many bytes the process may use: what GOMEMLIMIT says, else four fifths of what its container allows, which the collector then
// goes by, too. The rest is for what Go does not count. Without either it is as good as endless.
func Memory() int64 {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(allowed(os.DirFS("/")) / 5 * 4)
	}
	return debug.SetMemoryLimit(-1)
}

// allowed is the least limit of the cgroups that the process is in, of version 2 or 1. A container sees its own as the root.
func allowed(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	groups, _ := fs.ReadFile(root, "proc/self/cgroup") // elsewhere than on Linux there are none
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		folder, file := "sys/fs/cgroup", "memory.max"
		if slices.Contains(strings.Split(parts[1], ","), "memory") {
			folder, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			text, _ := fs.ReadFile(root, path.Join(folder, group, file))
			if limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil { // else there is none
				least = min(least, limit)
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}
