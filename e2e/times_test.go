package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// moody is a way to Loki that is slow now and then, refuses, and loses
// answers: Loki has then what its client does not know of.
type moody struct {
	url           string
	calm          atomic.Bool
	refused, lost atomic.Int64
}

func newMoody(t *testing.T, loki *testbed.Loki) *moody {
	m := &moody{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client was killed
		}
		mood := rand.IntN(20)
		if m.calm.Load() {
			mood = 19
		}
		switch {
		case mood < 2:
			m.refused.Add(1)
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		case mood < 6:
			<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond) // slowness is what this is about
		}
		// Not with the request's context: what a killed client has sent arrives all the same.
		req, _ := http.NewRequest(r.Method, loki.URL+r.URL.Path, bytes.NewReader(body))
		req.Header = r.Header.Clone()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		if mood >= 6 && mood < 9 {
			m.lost.Add(1)
			http.Error(w, "the answer is lost", http.StatusBadGateway)
			return
		}
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	}))
	t.Cleanup(server.Close)
	m.url = server.URL
	return m
}

// SIGKILL at random moments, to two Lokis of which each loses answers and one
// falls behind: Loki holds every line once, with the time, labels and metadata that it
// was given first. That also goes for lines that carry no time, equal ones among
// them, and both targets have them with the same one.
func TestKilledAtRandomRepeatsNothingInLoki(t *testing.T) {
	t.Parallel()
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	journal := testbed.StartJournald(t)
	one, two := newMoody(t, loki), newMoody(t, loki)
	logs, data := t.TempDir(), t.TempDir()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(`
sources:
  - {name: raw, file: {paths: [%[1]q]}, logFormat: raw, startAt: beginning}
  - {name: auto, file: {paths: [%[2]q]}, startAt: beginning}
  - {name: app, file: {paths: [%[3]q]}, logFormat: json, startAt: beginning}
  - {name: old, file: {paths: [%[4]q]}, logFormat: syslog-rfc3164, timeZone: UTC, startAt: beginning}
  - {name: units, journald: {directory: %[5]q, units: [alpha]}, startAt: beginning}
targets:
  - {name: one, loki: {url: %[6]q, labels: {copy: one}, structuredMetadata: [n, pid]}}
  - {name: two, queueBytes: 1MiB, loki: {url: %[7]q, labels: {copy: two}, structuredMetadata: [n, pid]}}
`, logs+"/raw.log", logs+"/auto.log", logs+"/app.log", logs+"/old.log", journal.Dir, one.url, two.url))

	unit := journal.Stdout(t, "alpha", "alpha.service", 6)
	defer unit.Close()
	began := time.Now().Truncate(time.Second)
	stamp := func(n int) time.Time { return began.Add(time.Duration(n) * time.Microsecond) }
	var written atomic.Int64
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			case <-time.After(200 * time.Microsecond):
			}
			err := writeAll(logs, map[string]string{
				"raw.log":  fmt.Sprintf("raw %d\nagain\n", n),
				"auto.log": fmt.Sprintf("level=info n=%d\n  at some.where(%d)\n", n, n),
				"app.log":  fmt.Sprintf(`{"time":%q,"level":"info","n":%d}`+"\n", stamp(n).UTC().Format(time.RFC3339Nano), n),
				"old.log":  fmt.Sprintf("<14>%s node1 app[7]: old %d\n", stamp(n).UTC().Format("Jan _2 15:04:05"), n),
			})
			if err == nil {
				err = unit.Line(fmt.Sprintf("unit %d", n))
			}
			written.Store(int64(n + 1))
			if n%2000 == 1999 && err == nil {
				err = os.Rename(filepath.Join(logs, "raw.log"), fmt.Sprintf("%s/raw.log.%d", logs, n))
			}
			if err != nil {
				stopped <- err
				return
			}
		}
	}()
	const kills = 12
	for range kills {
		d := start(t, nil, "--config", conf, "--data-dir", data)
		<-time.After(time.Duration(rand.IntN(1200)) * time.Millisecond) // the moment of the kill, not a wait for something
		d.kill()
	}
	d := start(t, nil, "--config", conf, "--data-dir", data)
	close(stop)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	journal.Sync(t)
	one.calm.Store(true)
	two.calm.Store(true)

	total := int(written.Load())
	want := map[string]int{"raw": 2 * total, "auto": 2 * total, "app": total, "old": total, "units": total}
	got := map[string][]testbed.LokiEntry{}
	await(t, "all lines in Loki, twice", func() bool {
		complete := true
		for source, n := range want {
			for _, c := range []string{"one", "two"} {
				key := source + " " + c
				if len(got[key]) < n {
					got[key] = loki.Query(t, testbed.LokiQuery{Query: fmt.Sprintf(`{source=%q,copy=%q}`, source, c)})
				}
				complete = complete && len(got[key]) >= n
			}
		}
		return complete
	})
	// What is still on its way is a repeat.
	await(t, "nothing in flight", func() bool {
		return d.metric(`lbshipd_target_lag_records{target="one"}`) == "0" && d.metric(`lbshipd_target_lag_records{target="two"}`) == "0"
	})
	for source, n := range want {
		var given [2]map[string]bool
		for i, c := range []string{"one", "two"} {
			entries := loki.Query(t, testbed.LokiQuery{Query: fmt.Sprintf(`{source=%q,copy=%q}`, source, c)})
			given[i] = checkOnce(t, source+" "+c, entries, n, stamp)
		}
		if !maps.Equal(given[0], given[1]) {
			t.Errorf("%s: the targets were given different times", source)
		}
	}
	t.Logf("%d lines of each kind, %d kills; answers lost: %d and %d, refused: %d and %d", total, kills,
		one.lost.Load(), two.lost.Load(), one.refused.Load(), two.refused.Load())
	if one.lost.Load() == 0 || two.lost.Load() == 0 {
		t.Error("no answer was lost: nothing was tested")
	}
	d.stop()
}

func writeAll(dir string, texts map[string]string) error {
	for name, text := range texts {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if _, err := f.WriteString(text); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// checkOnce checks that each line is there once, and what it carries, and
// returns the lines with their times.
func checkOnce(t *testing.T, what string, entries []testbed.LokiEntry, want int, stamp func(int) time.Time) map[string]bool {
	t.Helper()
	times, count := map[string]bool{}, map[string]int{}
	for _, e := range entries {
		times[fmt.Sprintf("%d %s", e.Time, e.Line)] = true
		count[e.Line]++
		var line struct{ N *int }
		if json.Unmarshal([]byte(e.Line), &line) == nil && line.N != nil {
			if e.Time != stamp(*line.N).UnixNano() || e.Metadata["n"] != fmt.Sprint(*line.N) {
				t.Errorf("%s: %q is of %d and has %v", what, e.Line, e.Time, e.Metadata)
			}
		}
		if n, ok := strings.CutPrefix(e.Line, "unit "); ok && (e.Metadata["pid"] == "" || e.Labels["unit"] != "alpha.service") {
			t.Errorf("%s: %s has %v %v", what, n, e.Labels, e.Metadata)
		}
	}
	wrong := 0
	for line, n := range count {
		if line == "again" {
			if n != want/2 {
				t.Errorf("%s: %d of %d equal lines", what, n, want/2)
			}
			continue
		}
		if n != 1 {
			if wrong++; wrong < 10 {
				t.Errorf("%s: %q is there %d times", what, line, n)
			}
		}
	}
	if len(entries) != want || wrong > 0 {
		t.Errorf("%s: %d lines in Loki, want %d; %d of them more than once", what, len(entries), want, wrong)
	}
	return times
}
