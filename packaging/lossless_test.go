package packaging

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// rate is how many lines a second the journal is given while things happen.
const rate = 5000

// writer is a service that writes numbered lines at a rate; perl is in every Debian.
const writer = `use Time::HiRes qw(time sleep);
my ($name, $n, $rate) = @ARGV;
$| = 0;
my $begun = time;
for my $i (0 .. $n - 1) {
	print "$name-$i what a line is made of\n";
	next if $i % 100;
	$|++; $|--;
	my $ahead = $begun + $i / $rate - time;
	sleep $ahead if $ahead > 0;
}
`

// load is lines that are being written to the journal, and what was done meanwhile.
type load struct {
	c    *container
	name string
	n    int
}

func (c *container) load(t *testing.T, name string, seconds int) *load {
	t.Helper()
	c.write(t, "/root/writer.pl", writer)
	l := &load{c, name, seconds * rate}
	c.run(t, "systemd-run", "--quiet", "--unit="+name, "perl", "/root/writer.pl", name, strconv.Itoa(l.n), strconv.Itoa(rate))
	return l
}

// written waits until all is in the journal.
func (l *load) written(t *testing.T, seconds int) {
	t.Helper()
	await(t, time.Duration(3*seconds+60)*time.Second, l.name+" has written all", func() bool {
		out, _ := l.c.try("systemctl", "is-active", l.name+".service")
		return out != "active" && out != "activating"
	})
	l.c.run(t, "journalctl", "--sync")
	if out := l.c.run(t, "sh", "-c", "journalctl -o cat -u "+l.name+" | grep -c '^"+l.name+"-'"); out != strconv.Itoa(l.n) {
		t.Fatalf("the journal has %s lines of %d", out, l.n)
	}
}

var numbered = regexp.MustCompile(`^([a-z]+)-(\d+) what a line is made of$`)

// tally counts how often each line is among lines: how many of n are missing, and how many came more than once.
func (l *load) tally(lines []string) (missing, again int) {
	seen := make([]int, l.n)
	for _, line := range lines {
		m := numbered.FindStringSubmatch(line)
		if m == nil || m[1] != l.name {
			continue
		}
		if i, _ := strconv.Atoi(m[2]); i < l.n {
			seen[i]++
		}
	}
	for _, n := range seen {
		switch {
		case n == 0:
			missing++
		case n > 1:
			again += n - 1
		}
	}
	return missing, again
}

// bed is lbshipd, installed, between a journal and two receivers.
type bed struct {
	c    *container
	loki *testbed.Loki
	siem *testbed.Rsyslog
}

// credential is the private key of the node, which only root can read.
const credential = "/etc/lbshipd/credentials/node.key"

func startBed(t *testing.T) *bed {
	deb := built(t, "older", "amd64.deb")
	ca := testbed.NewCA(t, "ca")
	node := ca.Client(t, "node.example.com")
	b := &bed{loki: testbed.StartLoki(t, testbed.LokiOptions{})}
	b.siem = testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "relp-tls", CA: ca, Cert: ca.Server(t, "127.0.0.1"), AuthMode: "name", PermittedPeers: []string{"node.example.com"}})
	b.c = boot(t, "bookworm")
	b.c.write(t, "/etc/systemd/journald.conf.d/load.conf", "[Journal]\nRateLimitIntervalSec=0\nStorage=persistent\nSystemMaxUse=2G\nForwardToSyslog=no\n")
	b.c.run(t, "systemctl", "restart", "systemd-journald")
	b.c.run(t, "dpkg", "-i", b.c.copyIn(t, deb))
	b.c.write(t, "/etc/lbshipd/ca.pem", string(ca.PEM))
	b.c.write(t, "/etc/lbshipd/node.pem", string(node.CertPEM))
	b.c.write(t, credential, string(node.KeyPEM))
	b.c.run(t, "chmod", "600", credential)
	b.c.write(t, configFile, fmt.Sprintf(`
sources:
  - name: journal
    journald: {matches: [_COMM=perl]}
targets:
  - name: loki
    loki: {url: %q}
  - name: siem
    rsyslog: {address: %q, protocol: relp-tls, tlsBundle: siem}
tlsBundles:
  - name: siem
    caFile: /etc/lbshipd/ca.pem
    certFile: /etc/lbshipd/node.pem
    keyFile: /run/credentials/lbshipd.service/key_node.key
`, b.loki.URL, b.siem.Address))
	b.c.run(t, "systemctl", "start", "lbshipd")
	return b
}

// both returns what Loki and rsyslog have.
func (b *bed) both(t *testing.T, l *load) (loki, siem []string) {
	t.Helper()
	for _, e := range b.loki.Query(t, testbed.LokiQuery{Query: `{unit="` + l.name + `.service"}`}) {
		loki = append(loki, e.Line)
	}
	for _, m := range b.siem.Messages(t) {
		siem = append(siem, m.Msg)
	}
	return loki, siem
}

// settled waits until nothing is missing anywhere, and returns how many lines came again.
func (b *bed) settled(t *testing.T, l *load) (inLoki, inSiem int) {
	t.Helper()
	var lostLoki, lostSiem int
	defer func() {
		if t.Failed() {
			t.Logf("missing of %d: %d in Loki, %d at rsyslog\n%s", l.n, lostLoki, lostSiem, b.c.log())
		}
	}()
	deadline := time.Now().Add(90 * time.Second)
	for ; b.siem.Count(t) < l.n && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
	}
	for ; ; time.Sleep(time.Second) {
		loki, siem := b.both(t, l)
		lostLoki, inLoki = l.tally(loki)
		lostSiem, inSiem = l.tally(siem)
		if lostLoki+lostSiem == 0 {
			return inLoki, inSiem
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %d lost in Loki, %d at rsyslog", l.name, lostLoki, lostSiem)
			return
		}
	}
}

// A package upgrade under 5,000 lines/s: each line is in Loki, and at a rsyslog
// over mutual TLS whose key is a credential, once.
func TestUpgradeUnderLoad(t *testing.T) {
	b := startBed(t)
	upgrade := b.c.copyIn(t, built(t, "newer", "amd64.deb"))
	pid := b.c.property(t, "MainPID")
	l := b.c.load(t, "upgrade", 24)
	b.arrives(t, l)
	begun := time.Now()
	b.c.run(t, "dpkg", "-i", upgrade)
	t.Logf("the upgrade took %s", time.Since(begun).Round(time.Millisecond))
	if state, _ := b.c.try("systemctl", "is-active", "upgrade.service"); state != "active" {
		t.Error("the lines were written before the upgrade was done")
	}
	if now := b.c.property(t, "MainPID"); now == pid || now == "0" {
		t.Errorf("upgraded, it runs as process %s, before as %s", now, pid)
	}
	if out := b.c.run(t, "lbshipd", "version"); !strings.Contains(out, newer) {
		t.Errorf("it is %s", out)
	}
	l.written(t, 24)
	inLoki, inSiem := b.settled(t, l)
	t.Logf("%d lines: 0 lost, %d doubled in Loki, %d at rsyslog", l.n, inLoki, inSiem)
	if inLoki+inSiem > 0 {
		t.Errorf("doubled: %d in Loki, %d at rsyslog", inLoki, inSiem)
	}
	if n := b.c.property(t, "NRestarts"); n != "0" {
		t.Errorf("systemd had to restart it %s times\n%s", n, b.c.log())
	}
}

// arrives waits until the lines of a load come through.
func (b *bed) arrives(t *testing.T, l *load) {
	t.Helper()
	await(t, 30*time.Second, l.name+" arrives", func() bool { return b.siem.Count(t) > rate })
}

// SIGKILL, and a daemon that hangs until the watchdog ends it, under 5,000
// lines/s: systemd starts it again, and each line arrives; in Loki once.
func TestKillAndHangUnderLoad(t *testing.T) {
	b := startBed(t)
	b.c.write(t, "/etc/systemd/system/lbshipd.service.d/watchdog.conf", "[Service]\nWatchdogSec=3s\n")
	b.c.run(t, "systemctl", "daemon-reload")
	b.c.run(t, "systemctl", "restart", "lbshipd")
	l := b.c.load(t, "faults", 40)
	b.arrives(t, l)
	for i, signal := range []string{"KILL", "STOP", "KILL"} {
		pid := b.c.property(t, "MainPID")
		b.c.run(t, "systemctl", "kill", "--kill-whom=main", "-s", signal, "lbshipd.service")
		begun := time.Now()
		await(t, 60*time.Second, "it runs again after SIG"+signal, func() bool {
			return b.c.property(t, "MainPID") != pid && b.c.property(t, "MainPID") != "0" && b.c.property(t, "ActiveState") == "active"
		})
		t.Logf("after SIG%s it ran again in %s", signal, time.Since(begun).Round(time.Millisecond))
		if n := b.c.property(t, "NRestarts"); n != strconv.Itoa(i+1) {
			t.Errorf("systemd has restarted it %s times after %d faults", n, i+1)
		}
	}
	if state, _ := b.c.try("systemctl", "is-active", "faults.service"); state != "active" {
		t.Error("the lines were written before the faults were over")
	}
	if log, _ := b.c.try("journalctl", "-u", "lbshipd", "-o", "cat", "--no-pager"); !strings.Contains(log, "Watchdog timeout") || !strings.Contains(log, "SIGABRT: abort") {
		t.Errorf("the watchdog and where it hung are not in the log: %s", log)
	}
	l.written(t, 40)
	inLoki, inSiem := b.settled(t, l)
	t.Logf("%d lines: 0 lost, %d doubled in Loki, %d at rsyslog", l.n, inLoki, inSiem)
	if inLoki > 0 {
		t.Errorf("doubled in Loki: %d", inLoki)
	}
}
