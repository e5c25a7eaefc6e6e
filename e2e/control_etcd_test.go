package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// etcdAway is how long all members of etcd are down: a minute in LBSHIPD_ETCD_AWAY=1m,
// which is how the figures of docs/control-plane.md were taken.
func etcdAway(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("LBSHIPD_ETCD_AWAY")
	if text == "" {
		return 8 * time.Second
	}
	away, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("LBSHIPD_ETCD_AWAY: %v", err)
	}
	return away
}

// comeback is how long a node may take to find etcd again: it tries every few seconds.
const comeback = time.Minute

// write changes the source, again while etcd cannot be written to: that is safe. It
// returns when it was answered with 200.
func (s *streams) write(t *testing.T, labels map[string]string) time.Time {
	t.Helper()
	source := map[string]any{"name": "app", "logFormat": "json", "minLevel": "debug", "startAt": "beginning", "labels": labels,
		"file": map[string]any{"paths": []string{s.load.path}}}
	await(t, "a write", func() bool {
		status, answer := s.admin.send("PUT", "/sources/app", source)
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", status, answer)
		}
		return status == http.StatusOK
	})
	return time.Now()
}

// agreed waits until all nodes run what node-0 was told, and returns how long the last took.
func (s *streams) agreed(t *testing.T, before string, since time.Time) time.Duration {
	t.Helper()
	hash := ""
	s.everywhere(t, "the new configuration", func(n *node) bool {
		st := n.status()
		if n == s.nodes[0] {
			hash = st.Config.Hash
		}
		return st.Config.Hash != before && st.Config.Hash == hash && !st.Config.Cached
	})
	return time.Since(since)
}

// What happens to etcd harms no record, and what was written while a node could not see it
// runs there once it can.
func TestNodesShipWhateverBecomesOfEtcd(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	// One node comes to etcd by a way that can be cut.
	far := startFront(t, strings.TrimPrefix(c.etcd.Endpoints()[0], "http://"))
	c.endpoints["node-2"] = "http://" + far.address
	s := startStreams(t, c)
	now := func() string { return s.nodes[0].status().Config.Hash }

	hash := now()
	leader := c.etcd.Leader()
	killed := time.Now()
	c.etcd.Kill(leader)
	at := s.write(t, map[string]string{"step": "leader-killed"})
	t.Logf("figure: etcd's leader killed, next write answered after: %d ms", at.Sub(killed).Milliseconds())
	if leader == 0 { // what the one node comes to
		far.lead(strings.TrimPrefix(c.etcd.Endpoints()[1], "http://"))
	}
	hold(t, "etcd's leader killed, the next write runs on the last node", s.agreed(t, hash, at))
	s.goOn(t)
	c.etcd.Restart()

	// A member that hangs: its connections stay, and nothing is answered.
	hash = now()
	leader = c.etcd.Leader()
	c.etcd.Pause(leader)
	paused := time.Now()
	at = s.write(t, map[string]string{"step": "leader-paused"})
	t.Logf("figure: etcd's leader hangs, next write answered after: %d ms", at.Sub(paused).Milliseconds())
	c.etcd.Resume(leader)
	s.agreed(t, hash, at)

	// A node that sees nothing while changes are made and compacted away.
	far.cut()
	awaitRemote(t, s.nodes[2], "REMOTECFG_DOWN")
	for _, step := range []string{"1", "2", "3"} {
		s.write(t, map[string]string{"step": step})
	}
	c.etcd.Compact()
	s.goOn(t)
	if got := s.nodes[2].status().Config.Hash; got == now() {
		t.Error("a node that cannot see etcd runs what was written there")
	}
	hash = s.nodes[2].status().Config.Hash
	at = time.Now()
	far.lead(strings.TrimPrefix(c.etcd.Endpoints()[1], "http://"))
	allow(t, "etcd reached again after changes that were compacted, they run", s.agreed(t, hash, at), comeback)
	awaitRemote(t, s.nodes[2], "REMOTECFG_UP")

	s.withoutEtcd(t)

	at = time.Now()
	for _, n := range s.nodes {
		awaitRemote(t, n, "REMOTECFG_UP")
	}
	allow(t, "etcd is back, every node has reached it after", time.Since(at), comeback)
	hash = now()
	at = s.write(t, map[string]string{"step": "back"})
	hold(t, "the first write after etcd was away runs on the last node", s.agreed(t, hash, at))
	await(t, "all nodes to be online", func() bool {
		all := s.admin.collectors()
		for _, n := range s.nodes {
			if r := all[n.name]; r.AlloyStatus != "ALLOY_ONLINE" || r.RemotecfgStatus != "REMOTECFG_UP" || r.ConfigHash != now() || r.PipelineHealth != "HEALTHY" {
				return false
			}
		}
		return true
	})
	s.exact(t)
}

// withoutEtcd kills all members for a while; one node stops and starts meanwhile, and one
// that never was there starts.
func (s *streams) withoutEtcd(t *testing.T) {
	t.Helper()
	hash := s.nodes[0].status().Config.Hash
	s.etcd.KillAll()
	away := time.Now()
	for _, n := range s.nodes {
		awaitRemote(t, n, "REMOTECFG_DOWN")
	}
	t.Logf("figure: all of etcd killed, every node says REMOTECFG_DOWN after: %d ms", time.Since(away).Milliseconds())
	asked := time.Now()
	status, answer := s.admin.send("PUT", "/sources/app", `{"name":"app","journald":{}}`)
	if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code":14`) {
		t.Errorf("a write without etcd: %d %s", status, answer)
	}
	t.Logf("figure: a write without etcd is refused with 503 after: %d ms", time.Since(asked).Milliseconds())

	if code := s.nodes[1].stop(); code != 0 {
		t.Errorf("a stop without etcd: exit code %d", code)
	}
	began := time.Now()
	s.nodes[1].begin()
	await(t, "a start without etcd", func() bool { code, _ := s.nodes[1].get("/-/ready"); return code == http.StatusOK })
	ready := time.Now()
	t.Logf("figure: a node started without etcd is ready after: %d ms", ready.Sub(began).Milliseconds())
	if st := s.nodes[1].status(); !st.Config.Cached || st.Config.Hash != hash {
		t.Errorf("it runs %+v, want what etcd held last, %s", st.Config, hash)
	}
	s.arrive(t, "records of the node that was started", s.siem, ready, false)
	fresh := s.node("node-9") // has never seen etcd: nothing to run yet
	await(t, "the reason for which it waits", func() bool {
		code, body := fresh.get("/-/ready")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "etcd")
	})

	for time.Since(away) < etcdAway(t) {
		s.goOn(t)
	}
	s.etcd.Restart()
	await(t, "the new node to run what etcd holds", func() bool {
		code, _ := fresh.get("/-/ready")
		return code == http.StatusOK && fresh.status().Config.Hash == s.nodes[0].status().Config.Hash
	})
	s.nodes = append(s.nodes, fresh)
}

// awaitRemote waits until a node says so of its way to etcd.
func awaitRemote(t *testing.T, n *node, want string) {
	t.Helper()
	await(t, n.name+" to say "+want, func() bool { return n.status().Collector.RemotecfgStatus == want })
}
