package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// cluster is daemons on machines of different names that take their
// configuration from one etcd, and may be told over TLS with a token.
type cluster struct {
	t      *testing.T
	etcd   *testbed.Etcd
	dir    string
	logs   string // a folder that all machines see
	http   *http.Client
	caFile string
	flags  []string // of every daemon

	// endpoints are where a node finds etcd, if it is not at its own address.
	endpoints map[string]string
}

// newCluster starts an etcd of so many members; flags are more of each daemon's.
func newCluster(t *testing.T, members int, flags ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, etcd: testbed.StartEtcd(t, testbed.EtcdOptions{Members: members}), logs: t.TempDir(), endpoints: map[string]string{}}
	c.access()
	key := filepath.Join(c.dir, "cluster.key")
	mustRun(t, "keygen", key)
	c.flags = append(c.flags, "--cluster-key-file", key)
	c.flags = append(c.flags, flags...)
	return c
}

// access makes the keys that tokens are signed with, and the admin ports' certificate.
func (c *cluster) access() {
	c.t.Helper()
	c.dir = c.t.TempDir()
	ca := testbed.NewCA(c.t, "admin ports")
	cert, key := ca.Server(c.t, "127.0.0.1").Files(c.t, c.dir, "admin")
	c.caFile = ca.File(c.t, c.dir, "admin-ca")
	mustRun(c.t, "token", "keygen", filepath.Join(c.dir, "lab.key"))
	c.flags = []string{"--tls-cert", cert, "--tls-key", key, "--jwt-keys", filepath.Join(c.dir, "lab.pub"), "--jwt-audience", "lbshipd"}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	c.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	c.t.Cleanup(c.http.CloseIdleConnections)
}

// token makes a token with the private key.
func (c *cluster) token(role string, more ...string) string {
	c.t.Helper()
	args := []string{"token", "--key", filepath.Join(c.dir, "lab.key"), "--role", role, "--subject", "ada", "--audience", "lbshipd"}
	return strings.TrimSpace(mustRun(c.t, append(args, more...)...))
}

// mustRun runs a command that has to succeed.
func mustRun(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	code, out, errOut := lbshipd(t, args...)
	if code != 0 {
		t.Fatalf("lbshipd %s: exit code %d: %s%s", strings.Join(args, " "), code, out, errOut)
	}
	return out
}

// node is one daemon of a cluster, over all its lives.
type node struct {
	*daemon
	c     *cluster
	name  string
	flags []string
}

// node starts a daemon on a machine of that name.
func (c *cluster) node(name string, flags ...string) *node {
	c.t.Helper()
	endpoints := strings.Join(c.etcd.Endpoints(), ",")
	if own := c.endpoints[name]; own != "" {
		endpoints = own
	}
	flags = append(append([]string{"--data-dir", c.t.TempDir(), "--etcd-endpoints", endpoints}, c.flags...), flags...)
	n := &node{c: c, name: name, flags: flags}
	n.begin()
	return n
}

// begin starts it, again with the same data.
func (n *node) begin() {
	n.c.t.Helper()
	n.daemon = run(n.c.t, launch{args: n.flags, host: n.name, http: n.c.http})
}

// api asks one daemon's API with one token.
type api struct {
	t     *testing.T
	http  *http.Client
	url   string
	token string
}

// as is a daemon's API to one who has a role.
func (n *node) as(role string) *api {
	n.c.t.Helper()
	return &api{t: n.c.t, http: n.c.http, url: n.url + "/api/v2/logs", token: n.c.token(role)}
}

// send sends a request with a body that is a text, or is made JSON.
func (a *api) send(method, path string, body any) (status int, answer string) {
	text, ok := body.(string)
	if !ok && body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			a.t.Fatal(err)
		}
		text = string(b)
	}
	r, err := http.NewRequest(method, a.url+path, bytes.NewReader([]byte(text)))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// must sends a request that has to succeed.
func (a *api) must(method, path string, body any) (answer string) {
	a.t.Helper()
	status, answer := a.send(method, path, body)
	if status/100 != 2 {
		a.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// change puts an object back with some of its fields changed: one PUT. It returns
// when that was answered.
func (a *api) change(path string, fields map[string]any) time.Time {
	a.t.Helper()
	object := map[string]any{}
	if err := json.Unmarshal([]byte(a.must("GET", path+"?defaults=false", nil)), &object); err != nil {
		a.t.Fatal(err)
	}
	for name, value := range fields {
		object[name] = value
	}
	a.must("PUT", path, object)
	return time.Now()
}

// collectors returns what the nodes report, by name.
func (a *api) collectors() map[string]collector {
	a.t.Helper()
	var answer struct{ Collectors []collector }
	if err := json.Unmarshal([]byte(a.must("GET", "/collectors", nil)), &answer); err != nil {
		a.t.Fatal(err)
	}
	all := map[string]collector{}
	for _, c := range answer.Collectors {
		all[c.ID] = c
	}
	return all
}

// collector is what is looked at of a node's report.
type collector struct {
	ID, AlloyStatus, RemotecfgStatus, ConfigHash, PipelineHealth string
	TotalExporters                                               int
	FailingExporters                                             []string
	ExporterSendFailedTotal                                      string
	NodeLabels                                                   map[string]string
	Rejected                                                     []struct{ Kind, Name, Reason string }
	UnhealthyComponents                                          []struct{ LocalID, State, Message string }
}

// nodeStatus is what is looked at of a daemon's /status.
type nodeStatus struct {
	Status string
	Config struct {
		Hash   string
		Cached bool
	}
	Sources   []struct{ Name string }
	Targets   []struct{ Name, Error string }
	Collector collector
	Ledger    []struct {
		Source, Target                        string
		Read, Delivered, InFlight, Difference int64
	}
}

func (d *daemon) status() (st nodeStatus) {
	d.t.Helper()
	code, body := d.get("/status")
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		d.t.Fatalf("/status: %d %s: %v", code, body, err)
	}
	return st
}

// sources and targets are the names of those that run.
func (st *nodeStatus) sources() (names string) {
	for _, s := range st.Sources {
		names += s.Name + " "
	}
	return strings.TrimSpace(names)
}

func (st *nodeStatus) targets() (names string) {
	for _, x := range st.Targets {
		names += x.Name + " "
	}
	return strings.TrimSpace(names)
}

// load writes numbered lines at a steady pace until it is stopped: those of even numbers are of
// level info, the others of level debug.
type load struct {
	t    *testing.T
	path string
	quit chan struct{}
	done chan int
}

// pace is how often the load writes two lines.
const pace = 10 * time.Millisecond

func startLoad(t *testing.T, path string) *load {
	t.Helper()
	l := &load{t: t, path: path, quit: make(chan struct{}), done: make(chan int, 1)}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer f.Close()
		n := 0
		for tick := time.NewTicker(pace); ; {
			select {
			case <-l.quit:
				l.done <- n
				return
			case <-tick.C:
			}
			var text []byte
			for _, level := range []string{"info", "debug"} {
				text = fmt.Appendf(text, `{"time":%q,"level":%q,"n":%d}`+"\n", time.Now().UTC().Format(time.RFC3339Nano), level, n)
				n++
			}
			if _, err := f.Write(text); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() { l.stop() })
	return l
}

// stop ends it and returns how many lines it wrote.
func (l *load) stop() int {
	select {
	case <-l.quit:
	default:
		close(l.quit)
	}
	n := <-l.done
	l.done <- n
	return n
}
