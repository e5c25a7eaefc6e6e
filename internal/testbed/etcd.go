package testbed

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// EtcdOptions is how an etcd is to be. The zero value is one member without
// TLS and without users.
type EtcdOptions struct {
	Members int // 0: one
	TLS     *EtcdTLS
	// Users are names and passwords. With any, authentication is on, there is a
	// user root as well (whose password is RootPassword), and the users may read and write
	// what lies under Grant, and nothing else.
	Users map[string]string
	Grant string
	// Args are more of its flags: --quota-backend-bytes=16777216.
	Args []string
}

// RootPassword is that of the user root of an Etcd that has users.
const RootPassword = "of the testbed"

// EtcdTLS makes etcd's client port speak TLS; its members talk to each other without.
type EtcdTLS struct {
	CertFile, KeyFile string
	ClientCAFile      string      // who signs the clients' certificates; empty: none is asked for
	Client            *tls.Config // with which this rig asks it
}

// Etcd is a real etcd on loopback, one process per member, with its data in a directory of its own.
// Members are counted from 0.
type Etcd struct {
	tb      TB
	dir     string
	options EtcdOptions
	members []*etcdMember

	mu     sync.Mutex // guards what follows
	client *clientv3.Client
}

type etcdMember struct {
	process
	dir      string
	endpoint string
	args     []string
}

// StartEtcd starts an etcd that is ready, and ends it when the test ends.
func StartEtcd(tb TB, o EtcdOptions) *Etcd {
	tb.Helper()
	binary, err := EtcdBinary()
	if err != nil {
		tb.Fatalf("no etcd: %v", err)
	}
	dir, err := os.MkdirTemp("", "lbshipd-etcd-")
	if err != nil {
		tb.Fatalf("making etcd's directory: %v", err)
	}
	o.Members = max(o.Members, 1)
	e := &Etcd{tb: tb, dir: dir, options: o}
	tb.Cleanup(e.remove)
	// The ports are free when they are looked for, and may be taken a moment
	// later by somebody else: then others are tried.
	for try := 1; ; try++ {
		if err = e.configure(binary, try); err == nil {
			err = e.startAll()
		}
		if err == nil {
			break
		}
		if try == 5 || !strings.Contains(e.Log(), "address already in use") {
			tb.Fatalf("starting etcd: %v\n%s", err, tail(e.Log(), 4000))
		}
		e.KillAll()
	}
	if err := e.addUsers(); err != nil {
		tb.Fatalf("adding etcd's users: %v", err)
	}
	return e
}

// EtcdBinary returns the path of the real etcd, and builds it if it is not
// there (a minute): builtServer.
func EtcdBinary() (string, error) { return builtServer("etcd", "go.etcd.io/etcd/server/v3") }

func (e *Etcd) remove() {
	e.mu.Lock()
	if e.client != nil {
		e.client.Close()
	}
	e.mu.Unlock()
	e.KillAll()
	os.RemoveAll(e.dir)
}

// configure makes the members with ports that are free now.
func (e *Etcd) configure(binary string, try int) error {
	n, scheme := e.options.Members, "http"
	if e.options.TLS != nil {
		scheme = "https"
	}
	ports, err := freePorts(2 * n)
	if err != nil {
		return err
	}
	var cluster []string
	for i := range n {
		cluster = append(cluster, fmt.Sprintf("m%d=http://127.0.0.1:%s", i, ports[n+i]))
	}
	e.members = nil
	for i := range n {
		dir := filepath.Join(e.dir, fmt.Sprintf("m%d-%d", i, try))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		m := &etcdMember{process: process{log: filepath.Join(dir, "log")}, dir: dir, endpoint: scheme + "://127.0.0.1:" + ports[i]}
		m.args = []string{binary, "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(dir, "data"),
			"--listen-client-urls", m.endpoint, "--advertise-client-urls", m.endpoint,
			"--listen-peer-urls", "http://127.0.0.1:" + ports[n+i], "--initial-advertise-peer-urls", "http://127.0.0.1:" + ports[n+i],
			"--initial-cluster", strings.Join(cluster, ","), "--log-level", "warn",
			// A SIGKILL does not take the page cache, and the disks of test machines are slow.
			"--unsafe-no-fsync"}
		if t := e.options.TLS; t != nil {
			m.args = append(m.args, "--cert-file", t.CertFile, "--key-file", t.KeyFile)
			if t.ClientCAFile != "" {
				m.args = append(m.args, "--client-cert-auth", "--trusted-ca-file", t.ClientCAFile)
			}
		}
		m.args = append(m.args, e.options.Args...)
		e.members = append(e.members, m)
	}
	return nil
}

// startAll starts the members that do not run, and waits until each answers.
func (e *Etcd) startAll() error {
	for _, m := range e.members {
		if m.running {
			continue
		}
		if err := m.start(m.dir, m.args); err != nil {
			return err
		}
	}
	for i, m := range e.members {
		err := m.untilReady(60*time.Second, func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return e.ready(ctx, m)
		})
		if err != nil {
			return fmt.Errorf("member %d: %w", i, err)
		}
	}
	return nil
}

// ready reports whether a member is in a cluster that has a leader.
func (e *Etcd) ready(ctx context.Context, m *etcdMember) bool {
	client, err := clientv3.New(e.config("", "", m.endpoint))
	if err != nil {
		return false
	}
	defer client.Close()
	status, err := client.Status(ctx, m.endpoint)
	return err == nil && status.Leader != 0 && len(status.Errors) == 0
}

func (e *Etcd) config(user, password string, endpoints ...string) clientv3.Config {
	c := clientv3.Config{Endpoints: endpoints, DialTimeout: 20 * time.Second, Logger: zap.NewNop(), Username: user, Password: password}
	if e.options.TLS != nil {
		c.TLS = e.options.TLS.Client
	}
	return c
}

func (e *Etcd) addUsers() error {
	if len(e.options.Users) == 0 {
		return nil
	}
	client, err := clientv3.New(e.config("", "", e.Endpoints()...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	do := func(_ any, problem error) {
		if err == nil {
			err = problem
		}
	}
	do(client.UserAdd(ctx, "root", RootPassword))
	do(client.UserGrantRole(ctx, "root", "root"))
	do(client.RoleAdd(ctx, "part"))
	do(client.RoleGrantPermission(ctx, "part", e.options.Grant, clientv3.GetPrefixRangeEnd(e.options.Grant), clientv3.PermissionType(clientv3.PermReadWrite)))
	for name, password := range e.options.Users {
		do(client.UserAdd(ctx, name, password))
		do(client.UserGrantRole(ctx, name, "part"))
	}
	do(client.AuthEnable(ctx))
	return err
}

// Endpoints returns the URLs of all members.
func (e *Etcd) Endpoints() []string {
	var urls []string
	for _, m := range e.members {
		urls = append(urls, m.endpoint)
	}
	return urls
}

// Client returns a client of all members that may do everything. It is closed when the test ends.
func (e *Etcd) Client() *clientv3.Client {
	e.tb.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		user, password := "", ""
		if len(e.options.Users) > 0 {
			user, password = "root", RootPassword
		}
		client, err := clientv3.New(e.config(user, password, e.Endpoints()...))
		if err != nil {
			e.tb.Fatalf("connecting to etcd: %v", err)
		}
		e.client = client
	}
	return e.client
}

// Kill ends a member with SIGKILL. Its data stays until the test ends.
func (e *Etcd) Kill(member int) { e.members[member].end(syscall.SIGKILL) }

// KillAll ends all members that run with SIGKILL.
func (e *Etcd) KillAll() {
	for i := range e.members {
		e.Kill(i)
	}
}

// Wipe ends all members and deletes their data: Restart makes an etcd that knows
// nothing, under the same names.
func (e *Etcd) Wipe() {
	e.tb.Helper()
	e.KillAll()
	for _, m := range e.members {
		if err := os.RemoveAll(filepath.Join(m.dir, "data")); err != nil {
			e.tb.Fatalf("wiping etcd: %v", err)
		}
	}
}

// Restart starts the members that were killed again, with the same data and
// ports, and waits until they are ready.
func (e *Etcd) Restart() {
	e.tb.Helper()
	if err := e.startAll(); err != nil {
		e.tb.Fatalf("starting etcd again: %v\n%s", err, tail(e.Log(), 4000))
	}
}

// PID returns the process of a member that runs.
func (e *Etcd) PID(member int) int { return e.members[member].cmd.Process.Pid }

// Pause stops a member in its tracks until Resume: connections stay open and
// nothing answers.
func (e *Etcd) Pause(member int) { e.members[member].signal(syscall.SIGSTOP) }

// Resume lets a paused member go on.
func (e *Etcd) Resume(member int) { e.members[member].signal(syscall.SIGCONT) }

// Leader returns which member leads, once one of those that run says so.
func (e *Etcd) Leader() int {
	e.tb.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		for i, m := range e.members {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			status, err := e.Client().Status(ctx, m.endpoint)
			cancel()
			if err == nil && status.Leader == status.Header.MemberId {
				return i
			}
		}
	}
	e.tb.Fatalf("no member of etcd leads")
	return -1
}

// Compact drops the history of all keys before now.
func (e *Etcd) Compact() {
	e.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	res, err := e.Client().Get(ctx, "any key")
	if err == nil {
		_, err = e.Client().Compact(ctx, res.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		e.tb.Fatalf("compacting etcd: %v", err)
	}
}

// Log returns what all members wrote to their logs since each was started last.
func (e *Etcd) Log() string {
	var b strings.Builder
	for i, m := range e.members {
		fmt.Fprintf(&b, "member %d:\n%s\n", i, m.text())
	}
	return b.String()
}

var _ TB = testing.TB(nil)
