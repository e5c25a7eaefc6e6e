package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// mtls is a real rsyslog that takes only clients of our CA, and the YAML of a
// bundle that it takes.
func mtls(t *testing.T, protocol string) (*testbed.Rsyslog, string) {
	t.Helper()
	dir := t.TempDir()
	ca := testbed.NewCA(t, "e2e")
	server := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: protocol, CA: ca, Cert: ca.Server(t, "siem.test"),
		PermittedPeers: []string{"node.test"}, MaxMessageSize: "64k"})
	cert, key := ca.Client(t, "node.test").Files(t, dir, "node")
	return server, fmt.Sprintf("{name: siem, caFile: %s, certFile: %s, keyFile: %s}", ca.File(t, dir, "ca"), cert, key)
}

// The whole way: a private journald with units and a rotating file in, a real
// Loki and a real rsyslog over mutual TLS out; each record once, with its level,
// labels and time, in order; minLevel changed while it runs.
func TestShipsEverythingOnceToLokiAndRsyslog(t *testing.T) {
	t.Parallel()
	journal := testbed.StartJournald(t)
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	siem, bundle := mtls(t, "gtls")
	logs, conf, data := t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml"), t.TempDir()
	config := func(minLevel string) string {
		return fmt.Sprintf(`
sources:
  - name: units
    journald: {directory: %q, units: [alpha, "beta*"]}
    labels: {team: storage}
    startAt: beginning
  - name: app
    file: {paths: [%q]}
    logFormat: json
    minLevel: %s
    startAt: beginning
targets:
  - name: loki
    loki: {url: %q, structuredMetadata: [pid]}
  - name: siem
    rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem, maxMessageBytes: 32KiB}
tlsBundles:
  - %s
`, journal.Dir, logs+"/*.log", minLevel, loki.URL, siem.Address, bundle)
	}
	write(t, conf, config("info"))
	d := start(t, nil, "--config", conf, "--data-dir", data)

	const perWriter = 2000
	began := time.Now().Truncate(time.Microsecond)
	var wg sync.WaitGroup
	for i, unit := range []string{"alpha.service", "beta1.service", "gamma.service"} {
		wg.Go(func() {
			s := journal.Stdout(t, unit[:5], unit, 6)
			defer s.Close()
			for n := range perWriter {
				if err := s.Line(fmt.Sprintf("<%d>%s %d", 3+(n+i)%4, unit, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	levels := []string{"debug", "info", "warning", "error"}
	wg.Go(func() {
		log := filepath.Join(logs, "app.log")
		for n := range perWriter {
			appendTo(t, log, `{"time":%q,"level":%q,"msg":"app %d","n":%d}`+"\n",
				began.Add(time.Duration(n)*time.Microsecond).UTC().Format(time.RFC3339Nano), levels[n%4], n, n)
			if n%500 == 499 {
				if err := os.Rename(log, fmt.Sprintf("%s.%d", log, n)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	wg.Wait()
	journal.Sync(t)

	// Two matched units, and three of four levels of the file.
	want := 2*perWriter + perWriter*3/4
	await(t, "all records at both targets", func() bool {
		return d.metric(`lbshipd_target_delivered_records_total{target="loki"}`) == fmt.Sprint(want) &&
			d.metric(`lbshipd_target_delivered_records_total{target="siem"}`) == fmt.Sprint(want)
	})
	checkLoki(t, loki, perWriter, began, logs)
	checkSyslog(t, siem.Wait(t, want), perWriter)

	pid := d.cmd.Process.Pid
	write(t, conf, config("debug")) // how soon that works: TestChangedFileTakesEffectWithoutARestart
	n := 0
	await(t, "a debug record in Loki", func() bool {
		appendTo(t, filepath.Join(logs, "app.log"), `{"time":%q,"level":"debug","msg":"later %d"}`+"\n", time.Now().UTC().Format(time.RFC3339Nano), n)
		n++
		return d.metric(`lbshipd_target_delivered_records_total{target="loki"}`) != fmt.Sprint(want)
	})
	if code := d.stop(); code != 0 || d.cmd.Process.Pid != pid {
		t.Errorf("exit code %d", code)
	}
	for _, line := range siem.Messages(t)[want:] {
		if !strings.Contains(line.Msg, `"later `) {
			t.Errorf("after the change a record came again: %+v", line)
		}
	}
}

func checkLoki(t *testing.T, loki *testbed.Loki, perWriter int, began time.Time, logs string) {
	t.Helper()
	streams := map[string]int{} // next number expected, by stream
	seen := map[string]int{}
	for _, e := range loki.Query(t, testbed.LokiQuery{Query: `{source=~".+"}`}) {
		seen[e.Line]++
		var n int
		switch e.Labels["source"] {
		case "units":
			var unit string
			if _, err := fmt.Sscanf(e.Line, "%s %d", &unit, &n); err != nil {
				t.Fatalf("%q: %v", e.Line, err)
			}
			i := map[string]int{"alpha.service": 0, "beta1.service": 1}[unit]
			level := []string{"error", "warn", "notice", "info"}[(n+i)%4]
			if e.Labels["unit"] != unit || e.Labels["level"] != level || e.Labels["team"] != "storage" || e.Labels["identifier"] != unit[:5] {
				t.Errorf("%q has labels %v", e.Line, e.Labels)
			}
			if e.Metadata["pid"] == "" {
				t.Errorf("%q has no pid: %v", e.Line, e.Metadata)
			}
			if since := time.Unix(0, e.Time).Sub(began); since < 0 || since > time.Minute {
				t.Errorf("%q is of %v", e.Line, time.Unix(0, e.Time))
			}
		case "app":
			var line struct {
				Level string
				N     int
			}
			if err := json.Unmarshal([]byte(e.Line), &line); err != nil {
				t.Fatal(err)
			}
			n = line.N
			level := map[string]string{"info": "info", "warning": "warn", "error": "error"}[line.Level]
			if e.Labels["level"] != level || e.Labels["filename"] != filepath.Join(logs, "app.log") {
				t.Errorf("%q has labels %v", e.Line, e.Labels)
			}
			if want := began.Add(time.Duration(n) * time.Microsecond).UnixNano(); e.Time != want {
				t.Errorf("%q is of %d, want %d", e.Line, e.Time, want)
			}
		}
		stream := e.LabelText()
		if n < streams[stream] {
			t.Errorf("stream %s: %d came behind %d", stream, n, streams[stream])
		}
		streams[stream] = n
	}
	once(t, "Loki", seen, perWriter)
}

func checkSyslog(t *testing.T, messages []testbed.RsyslogMessage, perWriter int) {
	t.Helper()
	seen, next := map[string]int{}, map[string]int{}
	for _, m := range messages {
		seen[m.Msg]++
		var n int
		writer := "app"
		if strings.HasPrefix(m.Msg, "{") {
			var line struct {
				Level string
				N     int
			}
			if err := json.Unmarshal([]byte(m.Msg), &line); err != nil {
				t.Fatal(err)
			}
			n = line.N
			severity := map[string]int{"info": 6, "warning": 4, "error": 3}[line.Level]
			if m.PRI != fmt.Sprint(8+severity) || m.AppName != "app" {
				t.Errorf("%q has PRI %s, APP-NAME %s", m.Msg, m.PRI, m.AppName)
			}
		} else {
			if _, err := fmt.Sscanf(m.Msg, "%s %d", &writer, &n); err != nil {
				t.Fatalf("%q: %v", m.Msg, err)
			}
			i := map[string]int{"alpha.service": 0, "beta1.service": 1}[writer]
			if pri, _ := strconv.Atoi(m.PRI); pri&7 != 3+(n+i)%4 || m.AppName != writer[:5] || m.ProcID == "-" {
				t.Errorf("%q has PRI %s, APP-NAME %s, PROCID %s", m.Msg, m.PRI, m.AppName, m.ProcID)
			}
			if !strings.Contains(m.StructuredData, `unit="`+writer+`"`) || !strings.Contains(m.StructuredData, `team="storage"`) {
				t.Errorf("%q has structured data %s", m.Msg, m.StructuredData)
			}
		}
		if n < next[writer] {
			t.Errorf("%s: %d came behind %d", writer, n, next[writer])
		}
		next[writer] = n
	}
	once(t, "rsyslog", seen, perWriter)
}

// once checks that every record that was to arrive did, and did once.
func once(t *testing.T, where string, seen map[string]int, perWriter int) {
	t.Helper()
	var wrong []string
	for line, n := range seen {
		if n != 1 {
			wrong = append(wrong, fmt.Sprintf("%q is there %d times", line, n))
		}
	}
	for n := range perWriter {
		for _, unit := range []string{"alpha.service", "beta1.service"} {
			if line := fmt.Sprintf("%s %d", unit, n); seen[line] == 0 {
				wrong = append(wrong, fmt.Sprintf("%q is missing", line))
			}
		}
	}
	if want := 2*perWriter + perWriter*3/4; len(seen) != want {
		wrong = append(wrong, fmt.Sprintf("%d different records, want %d", len(seen), want))
	}
	slices.Sort(wrong)
	for _, text := range wrong[:min(len(wrong), 20)] {
		t.Errorf("%s: %s", where, text)
	}
}
