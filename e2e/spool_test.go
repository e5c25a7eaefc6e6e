package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// rsyslog is down for long, the files are deleted and the journal is vacuumed
// meanwhile, and the daemon is killed again and again: with a spool every record
// arrives all the same, those of each source in order.
func TestSpoolOutlivesDeletedSources(t *testing.T) {
	t.Parallel()
	journal := testbed.StartJournald(t)
	siem, bundle := mtls(t, "gtls")
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - name: units
    journald: {directory: %q, units: [alpha]}
    startAt: beginning
  - name: app
    file: {paths: [%q]}
    logFormat: raw
    startAt: beginning
targets:
  - name: siem
    rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem}
    spool: {maxBytes: 64MiB}
tlsBundles:
  - %s
`, journal.Dir, logs+"/*.log", siem.Address, bundle))
	unit := journal.Stdout(t, "alpha", "alpha.service", 6)
	files, written := 0, 0
	more := func(n int) {
		t.Helper()
		name := filepath.Join(logs, fmt.Sprintf("app%d.log", files))
		for range n {
			appendTo(t, name, "file %d end\n", written)
			if err := unit.Line(fmt.Sprintf("unit %d end", written)); err != nil {
				t.Fatal(err)
			}
			written++
		}
		journal.Sync(t)
	}
	spooled := func(d *daemon) int {
		n, _ := strconv.ParseFloat(d.metric(`lbshipd_target_spool_records{target="siem"}`), 64)
		return int(n)
	}

	d := start(t, nil, "--config", conf, "--data-dir", data)
	more(200)
	await(t, "all to be confirmed", func() bool { // what is not is sent again, and in the spool until then
		return d.metric(`lbshipd_target_delivered_records_total{target="siem"}`) == fmt.Sprint(2*written)
	})
	arrived := written
	siem.Stop()
	for range 4 {
		more(300)
		await(t, "all to be in the spool", func() bool { return spooled(d) >= 2*(written-arrived) })
		// Gone for good: the file and the journal that holds it.
		if err := os.Remove(filepath.Join(logs, fmt.Sprintf("app%d.log", files))); err != nil {
			t.Fatal(err)
		}
		await(t, "the deletion to be known", func() bool {
			_, out, _ := lbshipd(t, "inspect", "positions", "--data-dir", data)
			return slices.ContainsFunc(strings.Split(out, "\n"), func(line string) bool {
				return strings.Contains(line, fmt.Sprintf("app%d.log", files)) && deletedPlace.MatchString(line)
			})
		})
		files++
		journal.Rotate(t)
		journal.Vacuum(t, 1)
		if code, out, stderr := lbshipd(t, "inspect", "spool", "--data-dir", data, "--verify"); code != 0 || !strings.Contains(out, "siem: ") {
			t.Errorf("inspect spool: exit code %d\n%s%s", code, out, stderr)
		}
		more(100) // these are still there when it is killed
		d.kill()
		d = start(t, nil, "--config", conf, "--data-dir", data)
	}
	await(t, "all to be in the spool", func() bool { return spooled(d) >= 2*(written-arrived) })
	d.kill()
	if code, out, _ := lbshipd(t, "inspect", "spool", "--data-dir", data, "--verify", "--records", "-o", "json"); code != 0 ||
		strings.Count(out, `"source":"app"`) != written-arrived || strings.Count(out, `"source":"units"`) != written-arrived {
		t.Errorf("inspect spool: exit code %d, %d and %d records of %d", code, strings.Count(out, `"source":"app"`), strings.Count(out, `"source":"units"`), written-arrived)
	}
	siem.Start(t)
	d = start(t, nil, "--config", conf, "--data-dir", data)
	more(50)

	seen := map[string]map[int]int{}
	await(t, fmt.Sprintf("%d records of each source", written), func() bool {
		seen = map[string]map[int]int{"file": {}, "unit": {}}
		for _, m := range siem.Messages(t) {
			kind, n := numberedText(t, m.Msg)
			seen[kind][n]++
		}
		return len(seen["file"]) == written && len(seen["unit"]) == written
	})
	next, repeats := map[string]int{}, 0
	for _, m := range siem.Messages(t) {
		kind, n := numberedText(t, m.Msg)
		if n > next[kind] {
			t.Fatalf("%s %d came before %d", kind, n, next[kind])
		}
		if n < next[kind] {
			repeats++
			continue
		}
		next[kind]++
	}
	t.Logf("%d records of each source, 5 kills, %d repeats", written, repeats)
	await(t, "the spool to be empty", func() bool {
		names, _ := filepath.Glob(filepath.Join(data, "spool", "siem", "*.seg"))
		return len(names) == 0
	})
	for _, source := range []string{"app", "units"} {
		pair := fmt.Sprintf(`{source=%q,target="siem"}`, source)
		if lost, diff := d.metric("lbshipd_ledger_lost_records"+pair), d.metric("lbshipd_ledger_difference_records"+pair); lost != "" && lost != "0" || diff != "0" {
			t.Errorf("ledger of %s: lost %q, difference %q", source, lost, diff)
		}
	}
	d.stop()
}

// deletedPlace is a position of a file that is known to be deleted, and was read to its end.
var deletedPlace = regexp.MustCompile(`1:\d+d:`)

func numberedText(t *testing.T, msg string) (kind string, n int) {
	t.Helper()
	if _, err := fmt.Sscanf(strings.TrimSpace(msg), "%s %d end", &kind, &n); err != nil {
		t.Fatalf("%q: %v", msg, err)
	}
	return kind, n
}
