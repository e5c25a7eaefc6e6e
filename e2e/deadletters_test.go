package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// What Loki refuses is kept and shown, and once the cause is gone it is sent
// again as what it was, while the daemon runs: each line is there once, with its
// time and labels.
func TestRefusedLinesAreKeptAndSentAgain(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{Limits: map[string]string{"max_line_size": "1KB",
		"reject_old_samples": "true", "reject_old_samples_max_age": "2h"}})
	dir, data := t.TempDir(), t.TempDir()
	const n = 400
	began := time.Now().Add(-10 * time.Minute).Truncate(time.Microsecond)
	old := began.Add(-48 * time.Hour)
	want := map[string]int64{} // times by line
	var log strings.Builder
	for i := range n {
		at, text := began.Add(time.Duration(i)*time.Millisecond), fmt.Sprint("fine ", i)
		switch i % 10 {
		case 3:
			text = strings.Repeat("long ", 400) + fmt.Sprint(i)
		case 7:
			at, text = old.Add(time.Duration(i)*time.Millisecond), fmt.Sprint("old ", i)
		}
		line := fmt.Sprintf(`{"time":%q,"level":"warning","msg":%q}`, at.UTC().Format(time.RFC3339Nano), text)
		log.WriteString(line + "\n")
		want[line] = at.UnixNano()
	}
	path := write(t, filepath.Join(dir, "app.log"), log.String())
	conf := write(t, filepath.Join(dir, "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning, labels: {team: storage}}
targets:
  - {name: loki, loki: {url: %[2]q, batchWait: 50ms}, deadLetters: {}}
  - {name: backfill, enabled: false, loki: {url: %[2]q, labels: {backfill: "yes"}}}
`, path, loki.URL))
	d := start(t, nil, "--config", conf, "--data-dir", data)
	await(t, "Loki's answers", func() bool {
		return d.metric(`lbshipd_target_delivered_records_total{target="loki"}`) == fmt.Sprint(n-n/5)
	})

	letters := func(reason string, more ...string) []string {
		t.Helper()
		code, out, errOut := lbshipd(t, append([]string{"inspect", "dead-letters", "--data-dir", data, "--reason", reason}, more...)...)
		if code != 0 || errOut != "" {
			t.Fatalf("inspect: exit code %d, %s", code, errOut)
		}
		return strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	}
	long := letters("line_too_long", "-o", "json")
	if len(long) != n/10 || len(letters("too_old", "-o", "json", "--target", "loki")) != n/10 {
		t.Fatalf("%d letters for being too long", len(long))
	}
	var first struct{ Source, Line, Level, Detail, Path string }
	if err := json.Unmarshal([]byte(long[0]), &first); err != nil || want[first.Line] == 0 || first.Source != "app" || first.Level != "warning" ||
		first.Path != path || !strings.Contains(first.Detail, "max entry size") {
		t.Errorf("letter %+v, %v", first, err)
	}
	if text := strings.Join(letters("too_old"), "\n"); !strings.Contains(text, "refused by loki at ") || !strings.Contains(text, "has timestamp too old") {
		t.Errorf("for people: %.500s", text)
	}
	if bytes := d.metric(`lbshipd_target_dead_letters_bytes{target="loki"}`); bytes == "" || bytes == "0" {
		t.Errorf("letters weigh %q bytes", bytes)
	}

	replay := func(code int, says string, more ...string) {
		t.Helper()
		got, out, errOut := lbshipd(t, append([]string{"replay", "--config", conf, "--data-dir", data, "--target", "loki"}, more...)...)
		if got != code || !strings.Contains(out, says) {
			t.Fatalf("replay %v: exit code %d, want %d and %q:\n%s%s", more, got, code, says, out, errOut)
		}
	}
	replay(0, "would send 80 letters of target loki to loki\n  line_too_long: 40\n  too_old: 40", "--dry-run")
	replay(3, "delivered 0 letters of target loki to loki; 80 refused again")
	if len(letters("line_too_long", "-o", "json")) != n/10 {
		t.Error("what was refused again is not kept")
	}
	loki.SetLimits(map[string]string{"max_line_size": "256KB", "reject_old_samples": "false"})
	replay(0, "delivered 40 letters of target loki to loki; 40 of other reasons", "--reason", "line_too_long")
	// The stream is two days ahead by now.
	replay(3, "delivered 0 letters of target loki to loki; 40 refused again\n  refused again: too_far_behind: 40: ")
	if len(letters("too_far_behind", "-o", "json")) != n/10 {
		t.Error("the new reason is not kept")
	}
	replay(0, "delivered 40 letters of target loki to backfill", "--to", "backfill")
	replay(0, "delivered 0 letters of target loki to loki\n")

	// The daemon goes on, and keeps what comes.
	later := time.Now().Add(5 * time.Hour).UTC()
	appendTo(t, path, `{"time":%q,"level":"info","msg":"from the future"}`+"\n", later.Format(time.RFC3339Nano))
	await(t, "a letter after the replays", func() bool {
		got := letters("too_new", "-o", "json")
		return len(got) == 1 && strings.Contains(got[0], "from the future")
	})
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	loki.Flush()
	got := loki.Query(t, testbed.LokiQuery{})
	labels := map[string]int{}
	for _, e := range got {
		if want[e.Line] != e.Time {
			t.Fatalf("%.100q is there again, or with the time %d instead of %d", e.Line, e.Time, want[e.Line])
		}
		delete(want, e.Line)
		labels[e.LabelText()]++
	}
	if len(want) != 0 || len(got) != n {
		t.Errorf("%d lines are missing, there are %d", len(want), len(got))
	}
	var counts []int
	for text, count := range labels {
		counts = append(counts, count)
		if strings.Contains(text, "backfill") != (count == n/10) || !strings.Contains(text, `team="storage"`) || !strings.Contains(text, `level="warn"`) {
			t.Errorf("%d lines have the labels %s", count, text)
		}
	}
	if slices.Sort(counts); !slices.Equal(counts, []int{n / 10, n - n/10}) {
		t.Errorf("streams of %v lines: %v", counts, labels)
	}
}
