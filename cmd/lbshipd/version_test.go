//go:build !appliance

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/internal/buildinfo"
)

// What the linker is told is what version, the metric and the admin port say.
func TestVersionIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	const wantVersion, wantCommit, wantDate = "1.2.3", "0123456789abcdef0123456789abcdef01234567", "2026-11-21T18:00:00Z"
	dir := t.TempDir()
	bin := filepath.Join(dir, "lbshipd")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X main.version="+wantVersion+" -X main.commit="+wantCommit+" -X main.commitDate="+wantDate, "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(args ...string) string {
		out, err := exec.CommandContext(ctx, bin, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("lbshipd %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	text := run("version")
	for _, want := range []string{"lbshipd 1.2.3 " + runtime.Version() + " linux/", "commit " + wantCommit + " of " + wantDate, "tags   none"} {
		if !strings.Contains(text, want) {
			t.Errorf("version is without %q:\n%s", want, text)
		}
	}
	var info buildinfo.Info
	if err := json.Unmarshal([]byte(run("version", "-o", "json")), &info); err != nil {
		t.Fatal(err)
	}
	if info.Version != wantVersion || info.Commit != wantCommit || info.Date != wantDate || info.GoVersion != runtime.Version() {
		t.Errorf("%+v", info)
	}
	summed := 0
	for _, m := range info.Modules {
		if m.Path == "github.com/spf13/cobra" && strings.HasPrefix(m.Sum, "h1:") {
			summed++
		}
	}
	if summed != 1 {
		t.Errorf("the checksum of cobra is there %d times: %+v", summed, info.Modules)
	}

	socket := filepath.Join(dir, "s")
	daemon := exec.CommandContext(ctx, bin, "run", "--config", put(t, filepath.Join(dir, "c.yaml"), "sources: []\n"), "--data-dir", filepath.Join(dir, "d"), "--listen", "off", "--admin-socket", socket)
	var out bytes.Buffer
	daemon.Stdout, daemon.Stderr = &out, &out
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { daemon.Process.Kill(); daemon.Wait() })
	c, err := client.New(client.Options{Endpoint: "unix:" + socket})
	if err != nil {
		t.Fatal(err)
	}
	var metrics []byte
	until(t, "the metrics are served", func() bool { metrics, err = c.Page(ctx, "/metrics"); return err == nil })
	want := `lbshipd_build_info{goversion="` + info.GoVersion + `",revision="` + info.Commit + `",version="` + info.Version + `"} 1`
	if !strings.Contains(string(metrics), want) {
		t.Errorf("the metrics are without %s", want)
	}
	if v, err := c.Page(ctx, "/version"); err != nil || !strings.Contains(string(v), `"version":"`+info.Version+`"`) {
		t.Errorf("/version: %s, %v", v, err)
	}
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// until waits for a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
