package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// The ledger survives SIGKILLs under a writer that rotates its file and a Loki
// that fails: in the end each line is in it once, whatever was sent twice.
func TestLedgerIsExactAfterKills(t *testing.T) {
	t.Parallel()
	var failed atomic.Int64
	loki := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if rand.IntN(3) == 0 {
			failed.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer loki.Close()
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q]}, logFormat: logfmt, minLevel: info, startAt: beginning}]
targets:
  - {name: loki, loki: {url: "%s/loki/api/v1/push", batchWait: 1ms}}
  - {name: out, stdout: {}}
`, logs+"/*.log", loki.URL))

	log, total := filepath.Join(logs, "app.log"), 0
	writeSome := func(n int) {
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for range n {
			fmt.Fprintf(f, "level=%s n=%d\n", []string{"debug", "info"}[total%2], total)
			total++
		}
	}
	type status struct {
		Status string
		Ledger []struct {
			Target                                          string
			Read, Delivered, Filtered, InFlight, Difference int64
		}
	}
	ask := func(d *daemon) (st status) {
		code, out, stderr := lbshipd(t, "status", "--address", d.admin, "-o", "json")
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			t.Fatalf("exit code %d: %v: %s%s", code, err, out, stderr)
		}
		for _, r := range st.Ledger {
			if r.Difference != 0 {
				t.Errorf("the ledger does not add up: %s", out)
			}
		}
		return st
	}
	for round := range 10 {
		d := start(t, nil, "--config", conf, "--data-dir", data)
		for range 1 + rand.IntN(40) {
			writeSome(50)
			<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond) // a writer's pace, not a wait for something
		}
		if round%3 == 2 {
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, round)); err != nil {
				t.Fatal(err)
			}
		}
		ask(d)
		d.kill()
	}
	d := start(t, nil, "--config", conf, "--data-dir", data)
	exact := func(st status) bool {
		n := 0
		for _, r := range st.Ledger {
			if r.Read > int64(total) {
				t.Fatalf("%s: %d records read, there are %d", r.Target, r.Read, total)
			}
			if r.Read == int64(total) && r.Delivered == int64(total/2) && r.Filtered == int64(total/2) && r.InFlight == 0 {
				n++
			}
		}
		return n == 2
	}
	await(t, "every line to be in the ledger", func() bool { return exact(ask(d)) })
	if failed.Load() == 0 {
		t.Error("the target has never failed")
	}
	d.stop()
	code, out, stderr := lbshipd(t, "status", "--data-dir", data, "-o", "json")
	var st status
	if err := json.Unmarshal([]byte(out), &st); err != nil || code != 0 || !exact(st) {
		t.Errorf("stored: exit code %d: %v: %s%s", code, err, out, stderr)
	}
}
