package packaging

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// applianceFor is the environment variable that says how long the load lasts;
// a fifth of it the target is away.
const applianceFor = "LBSHIPD_APPLIANCE_FOR"

// applianceMemory is what the daemon may have had in memory at most, all pages
// of its program that it has used included (VmHWM).
const applianceMemory = 16 << 10 // KiB

// applianceSuite is the Debian that its image is made of.
const applianceSuite = "bookworm"

// appliance is an image with a read-only root that runs the build for appliances.
type appliance struct {
	*container
	siem *testbed.Rsyslog
}

// applianceImage makes a rsyslog that wants certificates, and what puts the tarball,
// the configuration that comes in it, and the certificates into an image.
func applianceImage(t *testing.T) (*testbed.Rsyslog, func(*container)) {
	t.Helper()
	tarball := built(t, "appliance", "amd64.tar.gz")
	ca := testbed.NewCA(t, "ca")
	node := ca.Client(t, "node.example.com")
	siem := testbed.StartRsyslog(t, testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: ca.Server(t, "127.0.0.1"), PermittedPeers: []string{"node.example.com"}})
	return siem, func(c *container) {
		if out, err := exec.Command("tar", "-C", c.root, "-xzf", tarball).CombinedOutput(); err != nil {
			t.Fatalf("unpacking %s: %v %s", tarball, err, out)
		}
		text, err := os.ReadFile(c.path(configFile))
		if err != nil {
			t.Fatal(err)
		}
		c.write(t, configFile, strings.Replace(string(text), "siem.example.com:6514", siem.Address, 1))
		c.write(t, "/etc/lbshipd/ca.pem", string(ca.PEM))
		c.write(t, "/etc/lbshipd/node.pem", string(node.CertPEM))
		c.write(t, credential, string(node.KeyPEM))
		if err := os.Chmod(c.path(credential), 0o600); err != nil {
			t.Fatal(err)
		}
		c.write(t, "/root/writer.pl", writer)
	}
}

// journalIn has journald keep its journal in memory ("volatile") or on disk ("persistent").
func (c *container) journalIn(t *testing.T, storage string) {
	t.Helper()
	c.write(t, "/etc/systemd/journald.conf.d/appliance.conf",
		"[Journal]\nStorage="+storage+"\nRateLimitIntervalSec=0\nSystemMaxUse=4G\nRuntimeMaxUse=64M\nForwardToSyslog=no\n")
}

// holding is what the daemon has in memory, in KiB.
type holding struct{ peak, anonymous, program int }

var memoryLine = regexp.MustCompile(`(?m)^(VmHWM|RssAnon|RssFile):\s+(\d+) kB$`)

func (c *container) holding(t *testing.T) (h holding) {
	t.Helper()
	for _, m := range memoryLine.FindAllStringSubmatch(c.run(t, "cat", "/proc/"+c.property(t, "MainPID")+"/status"), -1) {
		n, _ := strconv.Atoi(m[2])
		switch m[1] {
		case "VmHWM":
			h.peak = n
		case "RssAnon":
			h.anonymous = n
		case "RssFile":
			h.program = n
		}
	}
	if h.peak == 0 {
		t.Fatal("the daemon's memory cannot be told")
	}
	return h
}

// 5,000 entries a second to a rsyslog over mutual TLS that is away for a fifth of the
// time: each arrives, and the daemon never has more than 16 MiB.
func TestApplianceUnderLoad(t *testing.T) {
	seconds := 40
	if text := os.Getenv(applianceFor); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 20*time.Second {
			t.Fatalf("%s=%s: want at least 20s", applianceFor, text)
		}
		seconds = int(d.Seconds())
	}
	siem, prepare := applianceImage(t)
	logs := t.TempDir()
	c := bootImage(t, applianceSuite, func(c *container) { prepare(c); c.journalIn(t, "persistent") }, "--volatile=state", "--bind="+logs+":/var/log/journal")
	a := &appliance{c, siem}
	await(t, 20*time.Second, "the first entries arrive", func() bool { return siem.Count(t) > 0 })
	if out, err := c.try("touch", "/usr/bin/here"); err == nil || !strings.Contains(out, "Read-only") {
		t.Errorf("the root can be written: %s", out)
	}
	t.Logf("before the load: %+v KiB", c.holding(t))

	l := a.begin(t, "load", seconds)
	begun := time.Now()
	at := func(share float64) time.Duration {
		return time.Until(begun.Add(time.Duration(share * float64(seconds) * float64(time.Second))))
	}
	a.watch(t, at(0.3), "before the outage")
	siem.Stop()
	away := time.Now()
	a.watch(t, at(0.5), "in the outage")
	t.Logf("the target was away for %s", time.Since(away).Round(time.Second))
	siem.Start(t)
	await(t, 3*time.Duration(seconds)*time.Second, "all is written", func() bool {
		a.watch(t, 5*time.Second, "after the outage")
		out, _ := c.try("systemctl", "is-active", l.name+".service")
		return out != "active" && out != "activating"
	})
	took := time.Since(begun)
	missing, again := a.settled(t, l)
	h := c.holding(t)
	t.Logf("%d entries in %s: %d lost, %d doubled; at most %d KiB in memory", l.n, took.Round(time.Second), missing, again, h.peak)
	t.Logf("CPU of the daemon: %s ms, of journald: %s ms", a.cpu(t, "lbshipd"), a.cpu(t, "systemd-journald"))
	if missing > 0 {
		t.Errorf("%d entries of %d are lost\n%s", missing, l.n, c.log())
	}
	if again > unconfirmed {
		t.Errorf("%d entries came again, more than can have been on the way", again)
	}
	if h.peak >= applianceMemory {
		t.Errorf("it had %d KiB, more than %d", h.peak, applianceMemory)
	}
	if n := c.property(t, "NRestarts"); n != "0" {
		t.Errorf("systemd had to restart it %s times\n%s", n, c.log())
	}
}

// unconfirmed is how many lines of the load are on their way to rsyslog at most.
const unconfirmed = 2 * rate

// begin starts the writer of the image.
func (a *appliance) begin(t *testing.T, name string, seconds int) *load {
	t.Helper()
	l := &load{a.container, name, seconds * rate}
	a.run(t, "systemd-run", "--quiet", "--unit="+name, "perl", "/root/writer.pl", name, strconv.Itoa(l.n), strconv.Itoa(rate))
	return l
}

// watch says every ten seconds what the daemon has in memory, for a while.
func (a *appliance) watch(t *testing.T, d time.Duration, when string) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(min(10*time.Second, time.Until(end)))
		t.Logf("%s: %+v KiB", when, a.holding(t))
	}
}

// cpu is what a service has used, in milliseconds.
func (a *appliance) cpu(t *testing.T, service string) string {
	t.Helper()
	pid := a.run(t, "systemctl", "show", "--value", "-p", "MainPID", service)
	fields := strings.Fields(a.run(t, "cat", "/proc/"+pid+"/stat"))
	if len(fields) < 15 {
		return "?"
	}
	user, _ := strconv.Atoi(fields[13])
	system, _ := strconv.Atoi(fields[14])
	return strconv.Itoa((user + system) * 10)
}

// settled waits until nothing is missing, or nothing more arrives.
func (a *appliance) settled(t *testing.T, l *load) (missing, again int) {
	t.Helper()
	before, since := int64(-1), time.Now()
	await(t, 3*time.Minute, "rsyslog has all, or gets no more", func() bool {
		if size := a.siem.Size(t); size != before {
			before, since = size, time.Now()
			return false
		}
		if time.Since(since) < 10*time.Second {
			return false
		}
		return true
	})
	lines := make([]uint8, l.n)
	a.siem.Each(t, func(m *testbed.RsyslogMessage) {
		found := numbered.FindStringSubmatch(m.Msg)
		if found == nil || found[1] != l.name {
			return
		}
		if i, _ := strconv.Atoi(found[2]); i < l.n {
			lines[i]++
		}
	})
	for _, n := range lines {
		switch {
		case n == 0:
			missing++
		case n > 1:
			again += int(n) - 1
		}
	}
	return missing, again
}

// Two builds of the appliance are identical, wherever they are made.
func TestApplianceBuildsAreIdentical(t *testing.T) {
	var sums [2]string
	for i, build := range []string{"appliance", "appliance-again"} {
		text, err := os.ReadFile(filepath.Join(gated(t), build, "SHA256SUMS.appliance"))
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(text)
	}
	if n := strings.Count(sums[0], "tar.gz"); n != 2 || sums[0] != sums[1] {
		t.Errorf("%d tarballs; the sums are\n%s, elsewhere\n%s", n, sums[0], sums[1])
	}
	fmt.Print(sums[0])
}
