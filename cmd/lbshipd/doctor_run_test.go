//go:build !appliance

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/doctor"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

// The exit code of errors that were found is not that of a command line that cannot be meant.
func TestDoctorCommandLine(t *testing.T) {
	for _, args := range [][]string{{"junk"}, {"-o", "xml"}, {"--confg", "x"}, {"--timeout", "0s"}, {"--config", "x", "--etcd-endpoints", "http://127.0.0.1:1"}, {"--cluster-key-file", "x", "--config", "y"}} {
		if code, out := lbshipd(append([]string{"doctor"}, args...)...); code != exitUnknown || !strings.Contains(out, "lbshipd doctor --help") {
			t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
	code, out := lbshipd("doctor", "--list")
	for _, k := range doctor.Kinds() {
		if !strings.Contains(out, "\n"+k.ID+" ") || code != 0 {
			t.Errorf("exit code %d, %s is not in %s", code, k.ID, out)
		}
	}
	var kinds []doctor.Kind
	if code, out := lbshipd("doctor", "--list", "-o", "json"); code != 0 || json.Unmarshal([]byte(out), &kinds) != nil || len(kinds) != len(doctor.Kinds()) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// Without root it says what it could not look at, and raises no alarm about it.
func TestDoctorAsSomebodyElse(t *testing.T) {
	b := newBed(t)
	b.give(b.data) // skips without root
	secret := filepath.Join(b.dir, "root")
	b.ok(os.Mkdir(secret, 0o700))
	b.ok(os.WriteFile(filepath.Join(secret, "lbshipd.yaml"), []byte(toStdout), 0o600))
	b.ok(os.Chmod(b.log, 0o600))
	for what, c := range map[string]struct {
		args    []string
		finds   string // id of a finding; "": none but those of the machine
		notMade string
	}{
		"root's daemon": {[]string{"--config", filepath.Join(secret, "lbshipd.yaml"), "--data-dir", filepath.Join(secret, "data"), "--user", "root"}, "", "run doctor as root"},
		"one's own":     {b.config(toStdout), "file-unreadable", ""},
		"another's":     {append(b.config(toStdout), "--user", "root"), "", "only root, or the daemon's user itself"},
	} {
		cmd := b.program(nobody, append([]string{"doctor", "-o", "json"}, c.args...)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		var r doctor.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v: %s%s", what, err, &out, &errs)
		}
		hit := c.finds == ""
		for _, f := range r.Findings {
			switch f.ID {
			case c.finds:
				hit = true
			case "daemon-not-running", "clock-unsynchronised":
			default:
				t.Errorf("%s: %+v", what, f)
			}
		}
		said := false
		for _, x := range r.Checks {
			said = said || x.Status == "not-made" && strings.Contains(x.Reason, c.notMade)
		}
		if !hit || !said && c.notMade != "" {
			t.Errorf("%s: %s", what, &out)
		}
	}
}

// With the data directory alone it finds the daemon that runs there, and takes over its flags.
func TestDoctorFindsTheDaemonAndItsFlags(t *testing.T) {
	b := newBed(t)
	b.daemon(0, "targets: [{name: siem, rsyslog: {address: \"127.0.0.1:1\", protocol: tcp}}]", "the daemon", func(*admin.Status) bool { return true })
	code, r, out := runDoctorHere(t, "--data-dir", b.data)
	if code != 2 || !strings.Contains(r.Daemon, filepath.Join(b.dir, "lbshipd.yaml")) || !strings.Contains(r.Daemon, "the daemon runs") || !strings.Contains(out, `"target-refused"`) {
		t.Errorf("exit code %d: %s", code, out)
	}
	_, text := lbshipd("doctor", "--data-dir", b.data)
	for _, want := range []string{"ERROR  target-refused  target \"siem\"\n  What: ", "\n  Why:  ", "\n  Mend: On that host: see whether it listens.\n        ss -ltnp 'sport = :1'\n", "\nCHECK ", "1 error, "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// Whatever does not answer, it ends.
func TestDoctorEnds(t *testing.T) {
	b := newBed(t)
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	b.ok(err)
	t.Cleanup(func() { l.Close() })
	socket := filepath.Join(b.data, "admin.sock")
	u, err := net.Listen("unix", socket)
	b.ok(err)
	t.Cleanup(func() { u.Close() })
	at := l.Addr().String()
	args := b.config(fmt.Sprintf("targets: [{name: loki, loki: {url: \"https://%s\", timeout: 10m}}, {name: siem, rsyslog: {address: %q, protocol: relp, timeout: 10m}}]", at, at))
	for _, args := range [][]string{args, {"--etcd-endpoints", "http://" + at, "--data-dir", b.data}} {
		start := time.Now()
		_, r, out := runDoctorHere(t, append(args, "--timeout", "3s", "--admin-socket", socket)...)
		if took := time.Since(start); took > time.Minute { // the targets' own limit is 10 minutes
			t.Errorf("it took %s", took)
		}
		if !strings.Contains(out, "not-made") && len(r.Findings) == 0 {
			t.Error(out)
		}
	}
}

// No secret is in what it says, wherever it is and whoever repeats it.
func TestDoctorKeepsSecrets(t *testing.T) {
	const secret = "geheimnis-4711"
	b := newBed(t)
	at := proxy(t, func(w http.ResponseWriter, r *http.Request) bool {
		_, password, _ := r.BasicAuth()
		http.Error(w, "no: "+r.Header.Get("Authorization")+password, http.StatusForbidden)
		return true
	})
	file := filepath.Join(b.dir, "password")
	b.ok(os.WriteFile(file, []byte(secret+"\n"), 0o644))
	key := testbed.NewCA(t, "ours").Client(t, "node1").KeyPEM
	body := strings.Split(key, "\n")[1]
	host := strings.TrimPrefix(at, "http://")
	for _, targets := range []string{
		fmt.Sprintf("targets:\n  - {name: a, loki: {url: %q, basicAuth: {username: bob, passwordFile: %q}}}\n  - {name: b, loki: {url: %q, bearerToken: %s}}\n  - {name: c, loki: {url: \"http://bob:%s@%s\"}}", at, file, at, secret, secret, host),
		fmt.Sprintf("tlsBundles: [{name: x, certPem: %q, keyPem: %q}]", secret, key),
		fmt.Sprintf("targets: [{name: a, loki: {url: %q, bearerToken: [%s]}}]", at, secret),
	} {
		args := b.config(targets)
		b.ok(os.Chmod(args[1], 0o644))
		for _, output := range []string{"table", "json"} {
			code, out := lbshipd(append([]string{"doctor", "-o", output}, args...)...)
			if code != 2 || strings.Contains(out, secret) || strings.Contains(out, body) || strings.Contains(out, "Ym9i") {
				t.Errorf("exit code %d: %s", code, out)
			}
		}
	}
}

// While etcd is away, what it held last is looked at.
func TestDoctorGoesOnWithWhatEtcdHeld(t *testing.T) {
	b, e, flags := stored(t, map[string]string{"/lbshipd/targets/siem": `{"name":"siem","rsyslog":{"address":"127.0.0.1:1","protocol":"tcp"}}`})
	cmd := b.program(0, append([]string{"run", "--listen", "off"}, flags...)...)
	b.ok(cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(b.data, "etcd-cache")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no cache")
		}
	}
	e.KillAll()
	_, _, out := runDoctorHere(t, flags...)
	for _, want := range []string{`"etcd-unreachable"`, `"target-refused"`, "what it held last, as this node has kept it"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
}
