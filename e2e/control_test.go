package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// prompt is how long a change may take to work on all nodes. It takes well
// under a second where nothing else runs (docs/control-plane.md); tests do not choose their machine. What
// misses a change hears of it a minute later at the soonest.
const prompt = 30 * time.Second

// streams is a cluster whose nodes read one file, which is written to all the time, and send
// it to a fake Loki and to a real rsyslog that wants certificates.
type streams struct {
	*cluster
	nodes []*node
	admin *api
	loki  *fakeLoki
	siem  *arrivals
	front *front
	load  *load

	servers []*authority
	had     []int // messages of servers that are in siem
}

// startStreams starts it with what an administrator would say in four calls.
func startStreams(t *testing.T, c *cluster) *streams {
	t.Helper()
	old := newAuthority(t, "old")
	s := &streams{cluster: c, loki: startFakeLoki(t), siem: newArrivals(), front: startFront(t, old.siem.Address),
		servers: []*authority{old}, had: []int{0}}
	for i := range 3 {
		s.nodes = append(s.nodes, s.node(fmt.Sprintf("node-%d", i)))
	}
	log := filepath.Join(s.logs, "app.log")
	s.load = startLoad(t, log)
	s.admin = s.nodes[0].as("admin")
	s.admin.must("POST", "/tls-bundles", old.bundle)
	s.admin.must("POST", "/targets", map[string]any{"name": "loki", "startAt": "beginning", "loki": map[string]any{"url": s.loki.url, "batchWait": "50ms"}})
	s.admin.must("POST", "/targets", map[string]any{"name": "siem", "startAt": "beginning",
		"rsyslog": map[string]any{"address": s.front.address, "serverName": "siem.test", "tlsBundle": "siem"}})
	s.admin.must("POST", "/sources", map[string]any{"name": "app", "file": map[string]any{"paths": []string{log}}, "logFormat": "json", "minLevel": "info", "startAt": "beginning"})
	s.everywhere(t, "records at both targets", func(n *node) bool {
		_, inLoki := s.loki.since(n.name, time.Time{}, false)
		_, inSiem := s.siem.since(n.name, time.Time{}, false)
		return inLoki && inSiem
	})
	s.goOn(t) // what is new on a connection takes longer
	return s
}

// look reads what the rsyslogs have by now.
func (s *streams) look(t *testing.T) {
	t.Helper()
	for i, a := range s.servers {
		s.had[i] = s.siem.collect(t, a.siem, s.had[i])
	}
}

// everywhere waits until something holds on every node.
func (s *streams) everywhere(t *testing.T, what string, cond func(*node) bool) {
	t.Helper()
	left := append([]*node(nil), s.nodes...)
	await(t, what+" on every node", func() bool {
		s.look(t)
		for len(left) > 0 && cond(left[0]) {
			left = left[1:]
		}
		return len(left) == 0
	})
}

// arrive waits for a record from every node that came after a time, and returns how long the last
// of them took.
func (s *streams) arrive(t *testing.T, what string, a *arrivals, after time.Time, debug bool) (took time.Duration) {
	t.Helper()
	s.everywhere(t, what, func(n *node) bool {
		at, ok := a.since(n.name, after, debug)
		took = max(took, at.Sub(after))
		return ok
	})
	return took
}

// goOn waits until every node has sent what is written in the next second to rsyslog:
// what a change breaks shows by then.
func (s *streams) goOn(t *testing.T) {
	t.Helper()
	s.arrive(t, "later records in rsyslog", s.siem, time.Now().Add(time.Second), false)
}

// hold says a figure, and that it is not too large.
func hold(t *testing.T, what string, took time.Duration) {
	t.Helper()
	allow(t, what, took, prompt)
}

func allow(t *testing.T, what string, took, most time.Duration) {
	t.Helper()
	t.Logf("figure: %s: %d ms", what, took.Milliseconds())
	if took > most {
		t.Errorf("%s took %v", what, took)
	}
}

// exact waits until every line is at both targets, and says what is there too often.
func (s *streams) exact(t *testing.T) {
	t.Helper()
	total := s.load.stop()
	wrong := func() (text string) {
		for _, n := range s.nodes {
			for where, a := range map[string]*arrivals{"Loki": s.loki.arrivals, "rsyslog": s.siem} {
				if w := a.wrong(n.name, total); w != "" {
					text += fmt.Sprintf("%s from %s: %s\n", where, n.name, w)
				}
			}
		}
		return text
	}
	for deadline := time.Now().Add(2 * time.Minute); wrong() != "" && time.Now().Before(deadline); {
		s.look(t)
		<-time.After(50 * time.Millisecond)
	}
	if text := wrong(); text != "" {
		t.Errorf("of %d lines:\n%s", total, text)
	}
	for _, n := range s.nodes {
		for _, row := range n.status().Ledger {
			if row.Difference != 0 {
				t.Errorf("%s: the ledger does not add up: %+v", n.name, row)
			}
		}
	}
	t.Logf("figure: %d lines, 3 nodes, 2 targets: none lost, none doubled", total)
}

// One call of the API changes what all nodes do: at once, without breaking a connection of a
// target that it is not about, and without a record lost or sent twice.
func TestOneCallChangesAllNodes(t *testing.T) {
	t.Parallel()
	s := startStreams(t, newCluster(t, 3))
	admin, loki, siem := s.admin, s.loki, s.siem

	lokiConns, siemConns := loki.conns(), s.front.conns()
	at := admin.change("/sources/app", map[string]any{"minLevel": "debug"})
	hold(t, "minLevel changed, first debug record in rsyslog from the last node", s.arrive(t, "a debug record in rsyslog", siem, at, true))
	hold(t, "minLevel changed, first debug record in Loki from the last node", s.arrive(t, "a debug record in Loki", loki.arrivals, at, true))
	s.goOn(t)
	if loki.conns() != lokiConns || s.front.conns() != siemConns {
		t.Errorf("a change of minLevel broke connections: Loki %s, were %s; rsyslog %s, were %s", loki.conns(), lokiConns, s.front.conns(), siemConns)
	}

	at = admin.change("/targets/loki", map[string]any{"enabled": false})
	s.everywhere(t, "the target to be gone", func(n *node) bool { st := n.status(); return st.targets() == "siem" })
	hold(t, "target disabled, gone from /status of the last node", time.Since(at))
	s.arrive(t, "a later record in rsyslog", siem, time.Now(), true)
	quiet := loki.last()
	s.goOn(t)
	if last := loki.last(); last != quiet {
		t.Errorf("Loki is sent to though it is disabled")
	}
	hold(t, "target disabled, its last record from any node", max(0, quiet.Sub(at)))

	at = admin.change("/targets/loki", map[string]any{"enabled": true})
	hold(t, "target enabled, first record in Loki from the last node", s.arrive(t, "a record in Loki", loki.arrivals, at, false))
	s.goOn(t)
	if s.front.conns() != siemConns {
		t.Errorf("disabling and enabling Loki broke connections to rsyslog: %s, were %s", s.front.conns(), siemConns)
	}

	// The server's authority changes, and the certificate that it is shown: what connects
	// from now on meets a server that knows only the new ones.
	renewed := newAuthority(t, "renewed")
	s.servers, s.had = append(s.servers, renewed), append(s.had, 0)
	lokiConns = loki.conns()
	s.front.lead(renewed.siem.Address)
	admin.must("PUT", "/tls-bundles/siem", renewed.bundle)
	at = time.Now()
	moved := newArrivals()
	had := 0
	var took time.Duration
	s.everywhere(t, "a record with the new certificate", func(n *node) bool {
		had = moved.collect(t, renewed.siem, had)
		first, ok := moved.since(n.name, time.Time{}, false)
		took = max(took, first.Sub(at))
		return ok
	})
	hold(t, "TLS bundle rotated, first record with the new certificate from the last node", took)
	s.goOn(t)
	if loki.conns() != lokiConns {
		t.Errorf("the rotation broke connections to Loki: %s, were %s", loki.conns(), lokiConns)
	}
	if log := renewed.siem.Log(); strings.Contains(log, "not permitted") {
		t.Errorf("the new server refused somebody: %s", log)
	}
	s.exact(t)
}

// What the tests above go by sees a line that is missing or came twice, of info and of debug, and does
// not mind debug lines that were dropped before they were wanted.
func TestArrivalsTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lines []int
		want  string
	}{
		"all":                    {[]int{0, 1, 2, 3, 4, 5}, ""},
		"debug from 3 on":        {[]int{0, 2, 3, 4, 5}, ""},
		"an info line is lost":   {[]int{0, 3, 4, 5}, "1 lines are missing, 0 came more than once, the first of them 2"},
		"a debug line is lost":   {[]int{0, 1, 2, 4, 5}, "1 lines are missing, 0 came more than once, the first of them 3"},
		"the last one is lost":   {[]int{0, 1, 2, 3, 4}, "1 lines are missing, 0 came more than once, the first of them 5"},
		"one came twice":         {[]int{0, 1, 2, 3, 4, 4, 5}, "0 lines are missing, 1 came more than once, the first of them 4"},
		"one twice, one is lost": {[]int{0, 1, 1, 2, 4, 5}, "1 lines are missing, 1 came more than once, the first of them 1"},
		"nothing came":           {nil, "3 lines are missing, 0 came more than once, the first of them 0"},
	} {
		a := newArrivals()
		for _, n := range c.lines {
			a.take("node", n, time.Now())
		}
		if got := a.wrong("node", 6); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
