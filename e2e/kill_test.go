package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// SIGKILL at random moments, under a writer that rotates its file: nothing is
// lost; Loki holds each record once, for each has a time of its own; rsyslog
// may hold what was unconfirmed twice, in whole runs.
func TestKilledAtRandomLosesNothing(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	siem, bundle := mtls(t, "gtls")
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - name: app
    file: {paths: [%q]}
    logFormat: json
    startAt: beginning
targets:
  - name: loki
    loki: {url: %q}
  - name: siem
    rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem}
tlsBundles:
  - %s
`, logs+"/*.log", loki.URL, siem.Address, bundle))

	var written atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error, 1)
	began := time.Now()
	go func() {
		log := filepath.Join(logs, "app.log")
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			case <-time.After(200 * time.Microsecond):
			}
			f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				stopped <- err
				return
			}
			fmt.Fprintf(f, `{"time":%q,"level":"info","n":%d}`+"\n", began.Add(time.Duration(n)*time.Microsecond).UTC().Format(time.RFC3339Nano), n)
			f.Close()
			written.Store(int64(n + 1))
			if n%1500 == 1499 {
				if err := os.Rename(log, fmt.Sprintf("%s.%d", log, n)); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	for range 8 {
		d := start(t, nil, "--config", conf, "--data-dir", data)
		<-time.After(time.Duration(rand.IntN(900)) * time.Millisecond) // the moment of the kill, not a wait for something
		d.kill()
	}
	d := start(t, nil, "--config", conf, "--data-dir", data)
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	total := int(written.Load())
	number := func(line string) int {
		var r struct{ N int }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		return r.N
	}
	var inLoki, inSyslog map[int]int
	t.Cleanup(func() {
		if t.Failed() {
			_, positions, _ := lbshipd(t, "inspect", "positions", "--data-dir", data)
			files, _ := exec.Command("ls", "-li", "--time-style=full-iso", logs).Output()
			t.Logf("%d records: missing in Loki %s, in rsyslog %s\n%s\n%s", total, missing(inLoki, total), missing(inSyslog, total), positions, files)
		}
	})
	await(t, fmt.Sprintf("all %d records at both targets", total), func() bool {
		inLoki, inSyslog = map[int]int{}, map[int]int{}
		for _, e := range loki.Query(t, testbed.LokiQuery{Query: `{source="app"}`}) {
			inLoki[number(e.Line)]++
		}
		for _, m := range siem.Messages(t) {
			inSyslog[number(m.Msg)]++
		}
		return len(inLoki) == total && len(inSyslog) == total
	})
	twice := 0
	for n := range total {
		if inLoki[n] != 1 {
			t.Errorf("record %d is in Loki %d times", n, inLoki[n])
		}
		if inSyslog[n] > 1 {
			twice++
		}
	}
	t.Logf("%d records, 8 kills: in Loki each once, %d of them in rsyslog more than once", total, twice)
	d.stop()
}

// missing lists the runs of numbers that are not there.
func missing(have map[int]int, total int) string {
	var runs []string
	for n := 0; n < total; n++ {
		first := n
		for n < total && have[n] == 0 {
			n++
		}
		if n > first {
			runs = append(runs, fmt.Sprintf("%d-%d", first, n-1))
		}
	}
	return strings.Join(runs, ", ")
}

// inspect journal prints what journalctl prints, through the binary.
func TestInspectJournalPrintsWhatJournalctlPrints(t *testing.T) {
	t.Parallel()
	journal := testbed.StartJournald(t)
	for _, unit := range []string{"alpha.service", "beta.service"} {
		s := journal.Stdout(t, unit[:4], unit, 5)
		for n := range 200 {
			if err := s.Line(fmt.Sprintf("<%d>%s %d", n%8, unit, n)); err != nil {
				t.Fatal(err)
			}
		}
		s.Close()
	}
	native := journal.Native(t)
	if err := native.Send(testbed.Field{Name: "MESSAGE", Value: "two\nlines"}, testbed.Field{Name: "X", Value: "1"},
		testbed.Field{Name: "X", Value: "2"}, testbed.Field{Name: "BLOB", Value: "\x00\x01\xff\n" + strings.Repeat("z", 3000)}); err != nil {
		t.Fatal(err)
	}
	journal.Sync(t)
	journal.Rotate(t)
	for _, args := range [][]string{nil, {"--unit", "alpha"}, {"--unit", "b*"}, {"--identifier", "alph"}, {"X=2"}} {
		want, err := exec.Command("journalctl", append([]string{"--namespace=" + journal.Name, "-q", "-o", "export"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		code, got, stderr := lbshipd(t, append([]string{"inspect", "journal", "-o", "export", "--directory", journal.Dir}, args...)...)
		if code != 0 || got != string(want) || len(want) == 0 {
			t.Errorf("%v: exit code %d, %d bytes, journalctl printed %d: %s", args, code, len(got), len(want), stderr)
		}
	}
}
