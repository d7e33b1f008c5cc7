package process

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

// TestTheLeastLimitOfTheCgroupsCounts, whichever version they are of, and whether the process sees its own group as the root.
func TestTheLeastLimitOfTheCgroupsCounts(t *testing.T) {
	const v1, v2 = "12:cpu,cpuacct:/a\n4:memory:/a/b\n1:name=systemd:/x\n0::/\n", "0::/system.slice/ordinavo.service\n"
	for name, c := range map[string]struct {
		want  int64
		files map[string]string
	}{
		"no Linux":                 {math.MaxInt64, nil},
		"none":                     {math.MaxInt64, map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/system.slice/ordinavo.service/memory.max": "max\n"}},
		"a container, version 2":   {128 << 20, map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "134217728\n"}},
		"a container, version 1":   {128 << 20, map[string]string{"proc/self/cgroup": "4:memory:/docker/0f\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "134217728\n"}},
		"a service":                {64 << 20, map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/system.slice/ordinavo.service/memory.max": "67108864\n", "sys/fs/cgroup/system.slice/memory.max": "134217728\n"}},
		"a slice that is smaller":  {32 << 20, map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/system.slice/ordinavo.service/memory.max": "67108864\n", "sys/fs/cgroup/system.slice/memory.max": "33554432\n"}},
		"version 1":                {16 << 20, map[string]string{"proc/self/cgroup": v1, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "16777216\n"}},
		"another controller's":     {math.MaxInt64, map[string]string{"proc/self/cgroup": "4:cpu:/a\n", "sys/fs/cgroup/a/memory.max": "1\n", "sys/fs/cgroup/memory.max": "1\n"}},
		"what cannot be read":      {math.MaxInt64, map[string]string{"proc/self/cgroup": "nonsense\n0::/../..\n", "sys/fs/cgroup/memory.max": "much\n"}},
		"a group outside the root": {8 << 20, map[string]string{"proc/self/cgroup": "0::/../outside\n", "sys/fs/cgroup/memory.max": "8388608\n"}},
	} {
		root := fstest.MapFS{}
		for file, text := range c.files {
			root[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := allowed(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestGOMEMLIMITIsObeyed(t *testing.T) {
	before := debug.SetMemoryLimit(7 << 30)
	defer debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "7GiB")
	if got := Memory(); got != 7<<30 {
		t.Errorf("it may use %d bytes", got)
	}
	t.Setenv("GOMEMLIMIT", "")
	if got := Memory(); got == 7<<30 || got <= 0 || got != debug.SetMemoryLimit(-1) {
		t.Errorf("it may use %d bytes, and the collector goes by %d", got, debug.SetMemoryLimit(-1))
	}
}
