package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// Failures that other log shippers are known for; docs/reliability.md names
// the reports. The healthy target here is a real server; the dead one fails as no
// real one can be made to for as long as a test needs.

// deadLoki answers every push with 500 until it is told to pass them on.
func deadLoki(t *testing.T, to *testbed.Loki) (url string, alive *atomic.Bool, asked *atomic.Int64) {
	t.Helper()
	alive, asked = new(atomic.Bool), new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if !alive.Load() {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		push, err := http.NewRequestWithContext(r.Context(), r.Method, to.URL+r.URL.Path, r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		push.Header = r.Header.Clone()
		resp, err := http.DefaultClient.Do(push)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
	}))
	t.Cleanup(server.Close)
	return server.URL, alive, asked
}

// numberedJSON writes lines from up to to, each with a time of its own.
func numberedJSON(t *testing.T, path string, began time.Time, from, to int) {
	t.Helper()
	var text strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&text, `{"time":%q,"level":"info","n":%d,"pad":%q}`+"\n",
			began.Add(time.Duration(n)*time.Microsecond).UTC().Format(time.RFC3339Nano), n, strings.Repeat("x", 200))
	}
	appendTo(t, path, "%s", text.String())
}

// countNumbers counts how often each number is among the lines.
func countNumbers(t *testing.T, lines []string) map[int]int {
	t.Helper()
	seen := map[int]int{}
	for _, line := range lines {
		var r struct{ N int }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[r.N]++
	}
	return seen
}

func lokiLines(t *testing.T, loki *testbed.Loki) (lines []string) {
	for _, e := range loki.Query(t, testbed.LokiQuery{Query: `{source="app"}`}) {
		lines = append(lines, e.Line)
	}
	return lines
}

// grafana/alloy 2194 and 4728: one dead endpoint stops the others. The dead
// one here is dead for many times what its queue holds.
func TestOneDeadEndpointDoesNotStopTheOther(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	siem, bundle := mtls(t, "gtls")
	url, alive, asked := deadLoki(t, loki)
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}]
targets:
  - {name: dead, queueBytes: 1MiB, loki: {url: %q}}
  - name: siem
    rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem}
tlsBundles:
  - %s
`, logs+"/*.log", url, siem.Address, bundle))
	log, began := filepath.Join(logs, "app.log"), time.Now()
	d := start(t, nil, "--config", conf, "--data-dir", data)
	total := 0
	for range 20 { // 20 times 0.6 MiB; the healthy target keeps up with each
		numberedJSON(t, log, began, total, total+2500)
		total += 2500
		await(t, "the healthy target has all so far", func() bool { return siem.Count(t) == total })
	}
	if asked.Load() == 0 {
		t.Fatal("the dead target was never asked")
	}
	alive.Store(true)
	var got map[int]int
	await(t, "the dead target has its backlog", func() bool { got = countNumbers(t, lokiLines(t, loki)); return len(got) == total })
	for n := range total {
		if got[n] != 1 {
			t.Fatalf("record %d is in Loki %d times", n, got[n])
		}
	}
	d.stop()
}

// opentelemetry-collector-contrib 45120 and 46945: the checkpoint moves while
// the exporter is down. Here it must stay, over a stop in good order as well.
func TestPositionsDoNotMoveWhileTheTargetIsDown(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	url, alive, asked := deadLoki(t, loki)
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}]
targets: [{name: down, queueBytes: 1MiB, loki: {url: %q}}]
`, logs+"/*.log", url))
	log, began := filepath.Join(logs, "app.log"), time.Now()
	numberedJSON(t, log, began, 0, 100)
	offset := regexp.MustCompile(`\b\d+:[0-9a-f]+:[0-9a-f]+\S*`)
	positions := func() string {
		code, out, errOut := lbshipd(t, "inspect", "positions", "--data-dir", data)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errOut)
		}
		at := ""
		for line := range strings.SplitSeq(out, "\n") {
			if m := offset.FindStringSubmatch(line); m != nil && strings.Contains(line, "down") {
				at += m[0] + " "
			}
		}
		return at
	}
	alive.Store(true)
	d := start(t, nil, "--config", conf, "--data-dir", data)
	await(t, "the first records", func() bool { return len(lokiLines(t, loki)) == 100 })
	if code := d.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	answered := positions()
	if answered == "" {
		t.Fatal("no position is stored")
	}
	alive.Store(false)
	for round := range 3 {
		d = start(t, nil, "--config", conf, "--data-dir", data)
		before := asked.Load()
		numberedJSON(t, log, began, 100+5000*round, 100+5000*(round+1))
		await(t, "a push that fails", func() bool { return asked.Load() > before+1 })
		if round == 0 {
			d.stop()
		} else {
			d.kill()
		}
		if now := positions(); now != answered {
			t.Fatalf("the position moved from %s to %s while nothing was answered", answered, now)
		}
	}
	alive.Store(true)
	d = start(t, nil, "--config", conf, "--data-dir", data)
	var got map[int]int
	await(t, "everything in Loki", func() bool { got = countNumbers(t, lokiLines(t, loki)); return len(got) == 15100 })
	d.stop()
}

// grafana/alloy 7112: what was read and not sent is skipped after a SIGKILL.
func TestUnsentEntriesSurviveSIGKILL(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	url, alive, asked := deadLoki(t, loki)
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}]
targets: [{name: down, loki: {url: %q}}]
`, logs+"/*.log", url))
	log, began, total := filepath.Join(logs, "app.log"), time.Now(), 0
	for round := range 4 {
		d := start(t, nil, "--config", conf, "--data-dir", data)
		before := asked.Load()
		numberedJSON(t, log, began, total, total+1000)
		total += 1000
		await(t, "a push of what was read", func() bool { return asked.Load() > before })
		await(t, "it to be queued", func() bool { return d.metric(`lbshipd_target_lag_records{target="down"}`) == fmt.Sprint(total) })
		d.kill()
		if round == 1 { // what was read is no longer where it was
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	alive.Store(true)
	d := start(t, nil, "--config", conf, "--data-dir", data)
	var got map[int]int
	await(t, "everything in Loki", func() bool { got = countNumbers(t, lokiLines(t, loki)); return len(got) == total })
	for n := range total {
		if got[n] != 1 {
			t.Errorf("record %d is in Loki %d times", n, got[n])
		}
	}
	d.stop()
}

// loki 1199: a 400 for one line drops the whole batch. Only the line that Loki
// refuses is missing, and the ledger says which rule it broke.
func TestARefusedLineDoesNotTakeItsBatchAlong(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q], maxLineBytes: 1MiB}, logFormat: json, startAt: beginning}]
targets: [{name: loki, loki: {url: %q}}]
`, logs+"/*.log", loki.URL))
	log, began := filepath.Join(logs, "app.log"), time.Now()
	numberedJSON(t, log, began, 0, 500)
	appendTo(t, log, `{"time":%q,"level":"info","n":500,"pad":%q}`+"\n", began.Add(500*time.Microsecond).UTC().Format(time.RFC3339Nano), strings.Repeat("x", 300<<10))
	numberedJSON(t, log, began, 501, 1000)
	d := start(t, nil, "--config", conf, "--data-dir", data)
	await(t, "the other lines", func() bool { return len(lokiLines(t, loki)) == 999 })
	if got := countNumbers(t, lokiLines(t, loki)); got[500] != 0 || len(got) != 999 {
		t.Errorf("%d of the lines, the long one %d times", len(got), got[500])
	}
	const series = `lbshipd_ledger_refused_records{reason="line_too_long",source="app",target="loki"}`
	await(t, "the refusal in the ledger", func() bool { return d.metric(series) == "1" })
	d.stop()
}

// vector 22143: "how much did I lose?" The ledger says it to the byte, and so
// does a record in the stream itself.
func TestTheLedgerSaysHowMuchWasLost(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources: [{name: app, file: {paths: [%q], maxHeldFiles: 1}, logFormat: json, startAt: beginning}]
targets: [{name: loki, queueBytes: 1MiB, loki: {url: %q}}]
`, logs+"/*.log", "http://127.0.0.1:1"))
	began, all := time.Now(), int64(0)
	var files []string
	for i := range 3 { // each larger than the queue
		files = append(files, filepath.Join(logs, fmt.Sprintf("app%d.log", i)))
		numberedJSON(t, files[i], began, i*10000, (i+1)*10000)
		info, err := os.Stat(files[i])
		if err != nil {
			t.Fatal(err)
		}
		all += info.Size()
	}
	d := start(t, nil, "--config", conf, "--data-dir", data)
	await(t, "the files to be open", func() bool { return d.metric(`lbshipd_source_inputs{source="app"}`) == "3" })
	await(t, "a full queue", func() bool { return d.metric(`lbshipd_target_failing{class="connect",target="loki"}`) == "1" })
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "two files to be given up", func() bool {
		return d.metric(`lbshipd_source_skipped_total{reason="given_up_file",source="app"}`) == "2"
	})
	write(t, conf, strings.Replace(readAll(t, conf), "http://127.0.0.1:1", loki.URL, 1))
	var told []string
	var lost float64
	const series = `lbshipd_ledger_lost_bytes{reason="given_up",source="app",target="loki"}`
	await(t, "the gaps in the ledger and in the stream", func() bool {
		told = told[:0]
		kept := 0
		for _, line := range lokiLines(t, loki) {
			if strings.HasPrefix(line, "lbshipd: ") {
				told = append(told, line)
			} else {
				kept++
			}
		}
		fmt.Sscan(d.metric(series), &lost)
		return kept >= 10000 && len(told) == 2
	})
	got := 0
	for _, line := range lokiLines(t, loki) {
		if !strings.HasPrefix(line, "lbshipd: ") {
			got += len(line) + 1
		}
	}
	if float64(all-int64(got)) != lost {
		t.Errorf("%d of %d bytes are missing, the ledger says %v; told: %q", all-int64(got), all, lost, told)
	}
	d.stop()
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
