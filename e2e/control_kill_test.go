package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// generation reads the label of that name of the source app.
func generation(t *testing.T, a *api) (n int) {
	t.Helper()
	var source struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(a.must("GET", "/sources/app?defaults=false", nil)), &source); err != nil {
		t.Fatal(err)
	}
	fmt.Sscan(source.Labels["generation"], &n)
	return n
}

// changing changes the source app without end, and says what was answered with 200 last.
func changing(a *api, source map[string]any, stop <-chan struct{}) (answered chan int) {
	answered = make(chan int, 1)
	go func() {
		last := 0
		for n := 1; ; n++ {
			select {
			case <-stop:
				answered <- last
				return
			default:
			}
			source["labels"] = map[string]string{"generation": fmt.Sprint(n)}
			if status, _ := a.send("PUT", "/sources/app", source); status == http.StatusOK {
				last = n
			}
			<-time.After(20 * time.Millisecond) // a person's pace, and not a limit's
		}
	}()
	return answered
}

// A node that is killed while one change follows the other runs the newest configuration when it
// is back, and ships all that was written meanwhile; so does the node that took the changes.
func TestKilledInTheMiddleOfChanges(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	source := f.source("app", nil)
	f.admin.must("POST", "/sources", source)
	load := startLoad(t, filepath.Join(f.logs, "app.log"))
	for round := range 6 {
		victim := f.nodes[round%2] // node-0 is the one that is asked
		stop := make(chan struct{})
		answered := changing(f.admin, f.source("app", nil), stop)
		<-time.After(time.Duration(100+rand.IntN(400)) * time.Millisecond) // at any moment
		victim.kill()
		close(stop)
		last := <-answered
		victim.begin()
		f.admin = f.nodes[0].as("admin")
		now := generation(t, f.admin)
		if now < last {
			t.Errorf("round %d: change %d was answered, etcd has %d", round, last, now)
		}
		await(t, "all nodes to run the newest configuration", func() bool {
			want := f.nodes[2].status().Config.Hash
			return f.nodes[0].status().Config.Hash == want && f.nodes[1].status().Config.Hash == want && generation(t, f.nodes[1].as("viewer")) == now
		})
	}
	total := load.stop()
	await(t, "every line from every node", func() bool {
		for _, n := range f.nodes {
			if f.loki.different(n.name) < total {
				return false
			}
		}
		return true
	})
}

const commented = `# Written by a person, who wants to find it again as it was.
sources:
  # the one that matters
  - name: app
    file: {paths: [%q]} # one folder
    logFormat: json
    startAt: beginning
    minLevel: warning # ask before you change this

targets:
  - name: loki # the only one
    loki:
      url: %s
      batchWait: 50ms
`

// alone is a daemon with a file of its own.
func alone(t *testing.T) (c *cluster, n *node, conf string, loki *fakeLoki) {
	t.Helper()
	c, loki = &cluster{t: t, logs: t.TempDir()}, startFakeLoki(t)
	c.access()
	conf = write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), fmt.Sprintf(commented, c.logs+"/*.log", loki.url))
	c.flags = append(c.flags, "--config", conf, "--data-dir", t.TempDir())
	n = &node{c: c, name: "alone", flags: c.flags}
	n.begin()
	return c, n, conf, loki
}

// With a file the API and the commands edit that file while the daemon runs: comments stay,
// what changes works at once, who comes late is told, and a SIGKILL leaves a whole file.
func TestTheFileIsEditedWhileItRuns(t *testing.T) {
	t.Parallel()
	c, n, conf, loki := alone(t)
	log := filepath.Join(c.logs, "app.log")
	load := startLoad(t, log)
	a := n.as("admin")
	at := a.change("/sources/app", map[string]any{"minLevel": "info"})
	var first time.Time
	await(t, "info records", func() (ok bool) { first, ok = loki.since("alone", time.Time{}, false); return ok })
	hold(t, "minLevel changed in the file by the API, first info record in Loki", first.Sub(at))
	text := readAll(t, conf)
	for _, comment := range []string{"# Written by a person, who", "# the one that matters", "# one folder", "# ask before you change this", "# the only one"} {
		if !strings.Contains(text, comment) {
			t.Errorf("%q is gone:\n%s", comment, text)
		}
	}
	if want := strings.Replace(fmt.Sprintf(commented, c.logs+"/*.log", loki.url), "minLevel: warning", "minLevel: info", 1); text != want {
		t.Errorf("more than the one word has changed:\n%s", text)
	}
	n.mustCLI("editor", "disable", "target", "loki")
	await(t, "the target to be off", func() bool { st := n.status(); return st.targets() == "" })
	n.mustCLI("editor", "enable", "target", "loki")
	await(t, "the target to be on", func() bool { st := n.status(); return st.targets() == "loki" })

	// A person with an editor was faster.
	request, err := http.NewRequest("GET", a.url+"/sources/app", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	write(t, conf, strings.Replace(readAll(t, conf), "minLevel: info", "minLevel: debug", 1))
	request, err = http.NewRequest("PUT", a.url+"/sources/app", strings.NewReader(`{"name":"app","journald":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header = http.Header{"Authorization": {"Bearer " + a.token}, "Content-Type": {"application/json"}, "If-Match": {resp.Header.Get("ETag")}}
	if resp, err = a.http.Do(request); err != nil || resp.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("a change of what a person has changed: %v, %v", resp, err)
	}
	resp.Body.Close()

	source := map[string]any{"name": "app", "file": map[string]any{"paths": []string{c.logs + "/*.log"}}, "logFormat": "json", "startAt": "beginning", "minLevel": "info"}
	for range 4 {
		stop := make(chan struct{})
		answered := changing(a, source, stop)
		<-time.After(time.Duration(100+rand.IntN(300)) * time.Millisecond) // at any moment
		n.kill()
		close(stop)
		last := <-answered
		if code, out, errOut := lbshipd(t, "check", conf); code != 0 {
			t.Fatalf("the file after a SIGKILL: %s%s\n%s", out, errOut, readAll(t, conf))
		}
		n.begin()
		a = n.as("admin")
		if now := generation(t, a); now < last {
			t.Errorf("change %d was answered, the file has %d", last, now)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(conf)); len(left) != 1 {
		t.Logf("beside the file: %v", left)
	}
	if text := readAll(t, conf); !strings.Contains(text, "# the one that matters") || !strings.Contains(text, "# the only one") {
		t.Errorf("comments are gone:\n%s", text)
	}
	total := load.stop()
	await(t, "every info line", func() bool {
		_, ok := loki.since("alone", time.Time{}, false)
		return ok && loki.missingInfo("alone", total) == 0
	})
}
