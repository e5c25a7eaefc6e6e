package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// createAndRotate leaves a file that was both created and rotated by now.
func createAndRotate(t *testing.T, log, line string) {
	t.Helper()
	appendTo(t, log, "%s\n", line)
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
}

// A daemon that was asked to stop waits for its targets and saves what they
// answer; a file that is created and rotated meanwhile is not forgotten.
func TestFileBornAndRotatedWhileStoppingIsFound(t *testing.T) {
	t.Parallel()
	answer := make(chan struct{})
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the end of the connection is seen only then
		select {
		case <-answer:
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	}))
	defer late.Close()
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), consoleConfig(logs, "info")+fmt.Sprintf("  - {name: loki, loki: {url: %q}}\n", late.URL))
	log := filepath.Join(logs, "a.log")
	appendTo(t, log, `{"level":"info","msg":"first"}`+"\n")
	d := start(t, nil, "--config", conf, "--data-dir", data, "--stop-timeout", "30s")
	// Ready is a daemon whose sources may not have looked yet: what is in the file by then is none of its business.
	await(t, "the file to be found", func() bool { return d.metric(`lbshipd_source_inputs{source="app"}`) == "1" })
	appendTo(t, log, `{"level":"info","msg":"second"}`+"\n")
	await(t, "the second line", func() bool { return strings.Contains(d.stdout.String(), "second") })
	d.cmd.Process.Signal(syscall.SIGTERM)
	await(t, "the daemon to stop", func() bool { code, _ := d.get("/-/ready"); return code != http.StatusOK })
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	createAndRotate(t, log, `{"level":"info","msg":"born"}`)
	born := time.Now()
	await(t, "the birth to be long before the save", func() bool { return time.Since(born) > 1500*time.Millisecond })
	if d.hasEnded() {
		t.Fatal("lbshipd has not waited for its target")
	}
	close(answer)
	<-d.ended
	again := start(t, nil, "--config", conf, "--data-dir", data, "--stop-timeout", "100ms")
	await(t, "the line of the file that nobody watched", func() bool { return strings.Contains(again.stdout.String(), "born") })
	again.stop()
}

// The same for a source that is disabled for a while.
func TestFileBornAndRotatedWhileDisabledIsFound(t *testing.T) {
	t.Parallel()
	logs, other, conf := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml")
	config := func(enabled bool) string {
		return fmt.Sprintf(`
sources:
  - {name: app, enabled: %v, file: {paths: ["%s/*.log"]}, startAt: beginning}
  - {name: other, file: {paths: ["%s/*.log"]}, startAt: beginning}
targets:
  - {name: console, stdout: {format: json}}
`, enabled, logs, other)
	}
	write(t, conf, config(true))
	log := filepath.Join(logs, "a.log")
	appendTo(t, log, "first\n")
	d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
	await(t, "the first line", func() bool { return strings.Contains(d.stdout.String(), "first") })
	write(t, conf, config(false))
	await(t, "the source to be disabled", func() bool { return d.metric(`lbshipd_source_inputs{source="app"}`) != "1" })
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	createAndRotate(t, log, "born")
	appendTo(t, filepath.Join(other, "b.log"), "other\n")
	await(t, "the other source", func() bool { return strings.Contains(d.stdout.String(), "other") })
	write(t, conf, config(true))
	await(t, "the line of the file that nobody watched", func() bool { return strings.Contains(d.stdout.String(), "born") })
	if n := strings.Count(d.stdout.String(), "first"); n != 1 {
		t.Errorf("the first line came %d times", n)
	}
	d.stop()
}
