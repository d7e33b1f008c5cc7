package config_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/ports/cli/config"
)

// What deploy/ starts is a service that takes its settings, keeps its data where they are kept, and gets the time that it may need to stop.
func TestWhatDeployStartsIsUnderstood(t *testing.T) {
	image, unit, module := deployed(t, "deploy/Dockerfile"), deployed(t, "deploy/ordinavo.service"), deployed(t, "go.mod")
	settings := strings.Fields(found(t, image, `(?m)^ENV (.*)$`))
	c, rest := load(t, nil, settings)
	volume := found(t, image, `(?m)^VOLUME (.*)$`)
	if port := found(t, image, `(?m)^EXPOSE (\d+)$`); len(rest) != 0 || c.Listen != "0.0.0.0:"+port || !strings.HasPrefix(c.Database.Path, volume+"/") {
		t.Errorf("the image has %+v and the volume %s", c, volume)
	}
	if !slices.Contains(settings, "TMPDIR="+volume) { // the demo makes a temporary folder, and there is no other in which it may
		t.Errorf("the image has %q and the volume %s", settings, volume)
	}
	if asked := found(t, module, `(?m)^go (\d+\.\d+)`); found(t, image, `(?m)^FROM golang:(\S+) AS build$`) != asked {
		t.Errorf("the image is not built by Go %s", asked)
	}
	command := strings.Fields(found(t, unit, `(?m)^ExecStart=/usr/local/bin/ordinavo serve(.*)$`))
	c, rest = load(t, command, nil)
	if state := found(t, unit, `(?m)^StateDirectory=(.*)$`); len(rest) != 0 || c.Database.Kind != config.SQLite || found(t, unit, `(?m)^WorkingDirectory=(.*)$`) != "/var/lib/"+state {
		t.Errorf("the unit has %+v and the folder %s", c, state)
	}
	for _, told := range []string{found(t, unit, `(?m)^TimeoutStopSec=(\d+)$`), found(t, image, `(?m)^#   docker run .*--stop-timeout (\d+) `)} {
		stop, err := time.ParseDuration(told + "s")
		if err != nil || stop < 2*c.ShutdownTimeout { // outcomes that a database keeps waiting may take as long again
			t.Errorf("it is killed after %s, %v", stop, err)
		}
	}
}

func deployed(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile("../../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func found(t *testing.T, text, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("there is no %s", pattern)
	}
	return strings.TrimSpace(match[1])
}
