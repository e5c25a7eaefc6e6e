package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// Targets that a reload adds are given what the sources hold from the
// beginning, from a time, or from now on, each line once; the target that was there notices
// nothing; a restart begins nothing anew.
func TestAddedTargetsStartWhereStartAtSays(t *testing.T) {
	t.Parallel()
	journal := testbed.StartJournald(t)
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	servers := map[string]*testbed.Rsyslog{}
	for _, name := range []string{"old", "beginning", "since", "now"} {
		servers[name] = testbed.StartRsyslog(t, testbed.RsyslogOptions{})
	}
	logs, data := t.TempDir(), t.TempDir()
	conf := filepath.Join(t.TempDir(), "lbshipd.yaml")
	text := fmt.Sprintf(`
sources:
  - name: units
    journald: {directory: %q, identifiers: [app]}
    startAt: beginning
  - name: timed
    file: {paths: [%q]}
    logFormat: json
    startAt: beginning
  - name: plain
    file: {paths: [%q]}
    logFormat: raw
    startAt: beginning
targets:
  - name: old
    rsyslog: {address: %q, protocol: tcp}
`, journal.Dir, logs+"/*.json", logs+"/*.txt", servers["old"].Address)
	write(t, conf, text)

	out := journal.Stdout(t, "app", "", 6)
	n := 0
	more := func(count int) {
		for range count {
			if err := out.Line(fmt.Sprint("journal ", n)); err != nil {
				t.Fatal(err)
			}
			appendTo(t, filepath.Join(logs, "a.json"), `{"time":%q,"msg":"timed %d"}`+"\n", time.Now().UTC().Format(time.RFC3339Nano), n)
			appendTo(t, filepath.Join(logs, "b.txt"), "plain %d\n", n)
			n++
		}
		journal.Sync(t)
	}
	more(200)
	since, sinceLine := time.Now(), n
	more(100)
	d := start(t, nil, "--config", conf, "--data-dir", data)
	servers["old"].Wait(t, 3*n)

	write(t, conf, text+fmt.Sprintf(`
  - {name: beginning, startAt: beginning, rsyslog: {address: %q, protocol: tcp}}
  - {name: since, startAt: %q, rsyslog: {address: %q, protocol: tcp}}
  - {name: now, startAt: now, rsyslog: {address: %q, protocol: tcp}}
  - {name: loki, startAt: beginning, loki: {url: %q}}
`, servers["beginning"].Address, since.Format(time.RFC3339Nano), servers["since"].Address, servers["now"].Address, loki.URL))
	nowLine := waitForPlaces(t, data, n)
	more(150)

	// Lines of the file without times are all there for "since": it was written to since then.
	firsts := map[string][3]int{"old": {0, 0, 0}, "beginning": {0, 0, 0}, "since": {sinceLine, sinceLine, 0}, "now": {nowLine, nowLine, nowLine}}
	check := func(when string) {
		t.Helper()
		for name, first := range firsts {
			want := map[string]bool{}
			for k, kind := range []string{"journal", "timed", "plain"} {
				for i := first[k]; i < n; i++ {
					want[fmt.Sprint(kind, " ", i)] = true
				}
			}
			got := servers[name].Wait(t, len(want))
			if len(got) != len(want) {
				t.Errorf("%s: %s has %d messages, want %d", when, name, len(got), len(want))
			}
			for _, m := range got {
				if key := lineOf(m.Msg); !want[key] {
					t.Fatalf("%s: %s has %q, which it should not have, or has twice", when, name, m.Msg)
				} else {
					delete(want, key)
				}
			}
		}
		await(t, "all lines in Loki", func() bool { return len(loki.Query(t, testbed.LokiQuery{Query: `{source=~".+"}`})) >= 3*n })
	}
	check("after the reload")
	d.kill()
	more(50)
	d = start(t, nil, "--config", conf, "--data-dir", data)
	more(10)
	var seen map[string]bool
	await(t, "the last lines", func() bool {
		seen = map[string]bool{}
		for _, m := range servers["now"].Messages(t) {
			seen[lineOf(m.Msg)] = true
		}
		return seen[fmt.Sprint("journal ", n-1)] && seen[fmt.Sprint("timed ", n-1)] && seen[fmt.Sprint("plain ", n-1)]
	})
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for i := range n {
		for _, kind := range []string{"journal", "timed", "plain"} {
			if line := fmt.Sprint(kind, " ", i); seen[line] != (i >= nowLine) {
				t.Fatalf("after a SIGKILL: now has %q: %v", line, seen[line])
			}
		}
	}
}

// waitForPlaces waits until every source has a place for the target "now", which is
// where n lines were written.
func waitForPlaces(t *testing.T, data string, n int) int {
	t.Helper()
	await(t, "the places of the target now", func() bool {
		_, out, _ := lbshipd(t, "inspect", "positions", "--data-dir", data)
		places := 0
		for line := range strings.SplitSeq(out, "\n") {
			if strings.Contains(line, " now ") {
				places++
			}
		}
		return places >= 3
	})
	return n
}

// lineOf returns what a message says, without JSON around it.
func lineOf(msg string) string {
	var line struct{ Msg string }
	if json.Unmarshal([]byte(msg), &line) == nil && line.Msg != "" {
		return line.Msg
	}
	return msg
}
