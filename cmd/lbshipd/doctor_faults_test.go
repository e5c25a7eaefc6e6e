//go:build !appliance

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// faults are what goes wrong at three in the morning.
var faults = map[string]fault{
	"no journal permission": {plant: plantJournal, id: "journal-no-access", where: `source "journal"`, mend: "usermod -aG systemd-journal nobody"},
	"no journal permission of a daemon that runs": {plant: plantJournalRunning, id: "journal-no-access", where: `source "journal"`, mend: "usermod -aG systemd-journal nobody",
		also: []string{"source-error"}, status: "permission denied"},
	"unreadable file": {plant: plantUnreadable, id: "file-unreadable", where: "/logs/app.log", mend: "setfacl -R -m g:nogroup:rX -m d:g:nogroup:rX /"},
	"unreadable file of a daemon that runs": {plant: plantUnreadableRunning, id: "file-unreadable", where: "/logs/app.log", mend: "setfacl -R -m g:nogroup:rX",
		also: []string{"source-error"}, status: "permission denied"},
	"expired certificate": {plant: plantTLS("expired"), id: "target-tls-expired", where: `target "siem"`, mend: "openssl s_client -connect 127.0.0.1:"},
	"wrong CA":            {plant: plantTLS("CA"), id: "target-tls-ca", where: `target "siem"`, mend: `put that authority's certificate into the TLS bundle "siem"`},
	"wrong name":          {plant: plantTLS("name"), id: "target-tls-name", where: `target "siem"`, mend: "-ext subjectAltName"},
	"refused certificate": {plant: plantTLS("client"), id: "target-tls-client", where: `target "siem"`, mend: `Give the TLS bundle "siem" a certificate`},
	"own certificate": {plant: plantTLS("own"), id: "certificate-expired", where: `tls-bundle "siem"`, mend: "Have it renewed",
		also: []string{"target-tls-client"}},
	"DNS failure":         {plant: plantDNS, id: "target-dns", where: `target "siem"`, mend: "getent hosts logs.invalid"},
	"refused port":        {plant: plantRefused, id: "target-refused", where: `target "siem"`, mend: "ss -ltnp 'sport = :"},
	"401":                 {plant: plantUnauthorized, id: "target-auth", where: `target "loki"`, mend: "Correct basicAuth", odd: "config-warning"},
	"429 storm":           {plant: plantLimited, id: "target-rate-limited", where: `target "loki"`, mend: "ingestion_rate_mb", status: "429"},
	"full disk":           {plant: plantFullDisk, id: "disk-full", where: "/data", mend: "du -xh --max-depth=2 "},
	"no inodes":           {plant: plantNoInodes, id: "inodes-full", where: "/data", mend: "du -x --inodes "},
	"read-only disk":      {plant: plantReadOnly, id: "disk-read-only", where: "/data", mend: "mount -o remount,rw "},
	"too large a spool":   {plant: plantSpool, id: "spool-too-large", where: "/data", mend: "lbshipd get targets"},
	"certificate ends":    {plant: plantExpiring, id: "certificate-expires", where: `tls-bundle "siem" (/`, mend: "openssl x509 -in /", odd: "config-warning"},
	"clock two hours off": {plant: plantClock, id: "clock-off", where: `target "loki"`, mend: "timedatectl set-ntp true"},
	"etcd down":           {plant: plantEtcdDown, id: "etcd-unreachable", where: "etcd http://", mend: "systemctl status etcd"},
	"bad object":          {plant: plantBadObject, id: "etcd-bad-object", where: `target "bad" (key /lbshipd/targets/bad)`, mend: "lbshipd delete target bad"},
	"cluster key":         {plant: plantClusterKey, id: "etcd-sealed", where: `tls-bundle "siem"`, mend: "install -m 0640 -o root", odd: "config-warning"},
	"silent source":       {plant: plantSilent, id: "source-silent", where: `source "app"`, mend: "ls -l --time-style=full-iso ", status: `source "app" has yielded nothing`},
	"deleted file in use": {plant: plantDeleted, id: "file-deleted-in-use", where: "/logs/app.log", mend: "kill -HUP " + strconv.Itoa(os.Getpid())},
	"refused configuration": {plant: plantRefusedConfig, id: "config-refused", where: "configuration", mend: "lbshipd check ",
		also: []string{"config-invalid"}, status: "the newest configuration is not running"},
	"mistake in the file": {plant: plantMistake, id: "config-invalid", where: "lbshipd.yaml:2", mend: "lbshipd check "},
	"secret for everyone": {plant: plantExposed, id: "secret-exposed", where: "/password", mend: "chmod o= ", odd: "config-warning"},
	"foreign data":        {plant: plantForeignData, id: "data-dir-unwritable", where: "/data", mend: "chown -R nobody:nogroup "},
}

func plantJournal(t *testing.T, on bool) []string {
	return append(journalBed(t, on).config(toStdout), "--user", "nobody")
}

func plantJournalRunning(t *testing.T, on bool) []string {
	return journalBed(t, on).daemon(nobody, toStdout, "the source", func(st *admin.Status) bool { return on == (st.Sources[0].Error != "") })
}

// journalBed has a journal that only root and the group systemd-journal may read.
func journalBed(t *testing.T, on bool) *bed {
	b := newBed(t)
	g, err := user.LookupGroup("systemd-journal")
	if err != nil {
		t.Fatalf("there is no systemd here: %v", err)
	}
	gid, _ := strconv.Atoi(g.Gid)
	dir := filepath.Join(b.dir, "journal")
	b.ok(os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "system.journal")
	entry := testbed.AppendExport(nil, 1, 1, strings.Repeat("0123456789abcdef", 2), testbed.Field{Name: "MESSAGE", Value: "hello"})
	testbed.FabricateJournal(t, path, bytes.NewReader(entry), testbed.JournalLayout{})
	b.give(b.data)
	b.ok(os.Chown(path, 0, gid))
	b.ok(os.Chmod(path, map[bool]os.FileMode{true: 0o640, false: 0o644}[on]))
	b.sources = fmt.Sprintf("[{name: journal, startAt: beginning, journald: {directory: %q}}]", dir)
	return b
}

func plantUnreadable(t *testing.T, on bool) []string {
	b := newBed(t)
	b.give(b.data)
	if on {
		b.ok(os.Chmod(b.log, 0o600))
	}
	return append(b.config(toStdout), "--user", "nobody")
}

func plantUnreadableRunning(t *testing.T, on bool) []string {
	b := newBed(t)
	b.give(b.data)
	if on {
		b.ok(os.Chmod(b.log, 0o600))
	}
	return b.daemon(nobody, toStdout, "the source", func(st *admin.Status) bool { return !on || st.Sources[0].Error != "" })
}

// plantTLS makes a real rsyslog, and something that is wrong between it and us.
func plantTLS(what string) func(*testing.T, bool) []string {
	return func(t *testing.T, on bool) []string {
		b := newBed(t)
		ca, foreign := testbed.NewCA(t, "ours"), testbed.NewCA(t, "theirs")
		cert, client, trusted := ca.Server(t, "127.0.0.1"), ca.Client(t, "node1"), ca
		if on {
			switch what {
			case "expired":
				cert = ca.Expired(t, "127.0.0.1")
			case "CA":
				trusted = foreign
			case "name":
				cert = ca.Server(t, "logs.example")
			case "client":
				client = foreign.Client(t, "node1")
			case "own":
				client = ca.Expired(t, "node1")
			}
		}
		rs := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: cert, PermittedPeers: []string{"node1"}})
		certFile, keyFile := client.Files(t, b.dir, "client")
		args := b.config(fmt.Sprintf("targets: [{name: siem, rsyslog: {address: %q, tlsBundle: siem}}]\ntlsBundles: [{name: siem, caFile: %q, certFile: %q, keyFile: %q}]",
			rs.Address, trusted.File(t, b.dir, "ca"), certFile, keyFile))
		return args
	}
}

func plantDNS(t *testing.T, on bool) []string {
	b := newBed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.ok(err)
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	host := map[bool]string{true: "logs.invalid", false: "localhost"}[on]
	return b.config(fmt.Sprintf(`targets: [{name: siem, rsyslog: {address: "%s:%s", protocol: tcp}}]`, host, port))
}

func plantRefused(t *testing.T, on bool) []string {
	b := newBed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.ok(err)
	if on {
		l.Close()
	}
	t.Cleanup(func() { l.Close() })
	return b.config(fmt.Sprintf("targets: [{name: siem, rsyslog: {address: %q, protocol: tcp}}]", l.Addr()))
}

// proxy stands before a Loki: the real one under make e2e, else one that takes everything. meet may
// answer in its place.
func proxy(t *testing.T, meet func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	var behind http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if os.Getenv(testbed.LokiGate) == "1" {
		to, err := url.Parse(testbed.StartLoki(t, testbed.LokiOptions{}).URL)
		if err != nil {
			t.Fatal(err)
		}
		behind = httputil.NewSingleHostReverseProxy(to)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !meet(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func plantUnauthorized(t *testing.T, on bool) []string {
	b := newBed(t)
	at := proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if _, password, _ := r.BasicAuth(); password == "right one" {
			return false
		}
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	password := filepath.Join(b.dir, "password")
	b.ok(os.WriteFile(password, []byte(map[bool]string{true: "wrong one\n", false: "right one\n"}[on]), 0o600))
	return b.config(fmt.Sprintf("targets: [{name: loki, loki: {url: %q, basicAuth: {username: bob, passwordFile: %q}}}]", at, password))
}

// plantLimited has a daemon whose records are refused for now, though an empty push is not.
func plantLimited(t *testing.T, on bool) []string {
	b := newBed(t)
	at := proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !on || r.ContentLength < 10 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		http.Error(w, "Ingestion rate limit exceeded for user fake", http.StatusTooManyRequests)
		return true
	})
	return b.daemon(0, fmt.Sprintf("targets: [{name: loki, loki: {url: %q, batchWait: 10ms}}]", at), "the target", func(st *admin.Status) bool {
		if on {
			return st.Targets[0].Class == "rate_limited"
		}
		return len(st.Ledger) > 0 && st.Ledger[0].Delivered == 1
	})
}

// mount puts a file system of its own below the data directory.
func (b *bed) mount(options string) {
	b.t.Helper()
	if err := unix.Mount("tmpfs", b.data, "tmpfs", 0, "mode=0700,"+options); err != nil {
		b.t.Skipf("a file system cannot be mounted here: %v", err)
	}
	b.t.Cleanup(func() { unix.Unmount(b.data, unix.MNT_DETACH) })
}

func plantFullDisk(t *testing.T, on bool) []string {
	b := newBed(t)
	b.mount("size=24m")
	if on {
		f, err := os.Create(filepath.Join(b.data, "full"))
		b.ok(err)
		defer f.Close()
		for page := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(page)
		}
	}
	return b.config(toStdout)
}

func plantNoInodes(t *testing.T, on bool) []string {
	b := newBed(t)
	b.mount("size=24m,nr_inodes=20")
	for i := 0; on; i++ {
		if os.WriteFile(filepath.Join(b.data, strconv.Itoa(i)), nil, 0o600) != nil {
			break
		}
	}
	return b.config(toStdout)
}

func plantReadOnly(t *testing.T, on bool) []string {
	b := newBed(t)
	b.mount("size=24m")
	if on {
		b.ok(unix.Mount("", b.data, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
	return b.config(toStdout)
}

func plantSpool(t *testing.T, on bool) []string {
	b := newBed(t)
	b.mount("size=24m")
	return b.config(fmt.Sprintf("targets: [{name: out, stdout: {}, spool: {maxBytes: %s}}]", map[bool]string{true: "1GiB", false: "16MiB"}[on]))
}

func plantExpiring(t *testing.T, on bool) []string {
	b := newBed(t)
	lasts := map[bool]time.Duration{true: 20 * 24 * time.Hour, false: 60 * 24 * time.Hour}[on]
	cert, key := testbed.NewCA(t, "ours").Issue(t, testbed.CertOptions{CommonName: "node1", Lasts: lasts}).Files(t, b.dir, "client")
	return b.config(fmt.Sprintf("%s\ntlsBundles: [{name: siem, certFile: %q, keyFile: %q}]", toStdout, cert, key))
}

func plantClock(t *testing.T, on bool) []string {
	b := newBed(t)
	at := proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		if on {
			w.Header().Set("Date", time.Now().Add(-2*time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusNoContent)
		}
		return on
	})
	return b.config(fmt.Sprintf("targets: [{name: loki, loki: {url: %q}}]", at))
}

func plantSilent(t *testing.T, on bool) []string {
	b := newBed(t)
	after := map[bool]string{true: "1s", false: "1h"}[on]
	b.sources = fmt.Sprintf("[{name: app, silentAfter: %s, startAt: beginning, file: {paths: [%q]}}]", after, b.log)
	return b.daemon(0, toStdout, "the silence", func(st *admin.Status) bool { return !on || st.Sources[0].Silent })
}

// plantDeleted deletes a log file that this process goes on writing to, as after a rotation whose
// postrotate script does nothing.
func plantDeleted(t *testing.T, on bool) []string {
	b := newBed(t)
	f, err := os.OpenFile(b.log, os.O_APPEND|os.O_WRONLY, 0)
	b.ok(err)
	t.Cleanup(func() { f.Close() })
	if on {
		b.ok(os.Remove(b.log))
		b.ok(os.WriteFile(b.log, nil, 0o644))
	}
	if _, err := f.WriteString("still here\n"); err != nil {
		t.Fatal(err)
	}
	return b.config(toStdout)
}

func plantRefusedConfig(t *testing.T, on bool) []string {
	b := newBed(t)
	args := b.daemon(0, toStdout, "the daemon", func(*admin.Status) bool { return true })
	if !on {
		return args
	}
	b.config("targets: [{name: out, stduot: {}}]")
	for deadline := time.Now().Add(time.Minute); ; <-time.After(20 * time.Millisecond) {
		if _, out := lbshipd("status", "--endpoint", "unix:"+args[len(args)-1]); strings.Contains(out, "the newest configuration is not running") {
			return args
		}
		if time.Now().After(deadline) {
			t.Fatal("the mistake is not refused")
		}
	}
}

func plantMistake(t *testing.T, on bool) []string {
	return newBed(t).config(map[bool]string{true: "targets: [{name: out, stdout: {fromat: json}}]", false: toStdout}[on])
}

func plantExposed(t *testing.T, on bool) []string {
	b := newBed(t)
	password := filepath.Join(b.dir, "password")
	b.ok(os.WriteFile(password, []byte("geheimnis\n"), map[bool]os.FileMode{true: 0o644, false: 0o640}[on]))
	at := proxy(t, func(http.ResponseWriter, *http.Request) bool { return false })
	return b.config(fmt.Sprintf("targets: [{name: loki, loki: {url: %q, basicAuth: {username: bob, passwordFile: %q}}}]", at, password))
}

func plantForeignData(t *testing.T, on bool) []string {
	b := newBed(t)
	if b.give(b.data); on {
		b.ok(os.Chown(b.data, 0, 0))
	}
	return append(b.config(toStdout), "--user", "nobody")
}
