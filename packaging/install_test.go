package packaging

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

const configFile = "/etc/lbshipd/lbshipd.yaml"

// journalToLoki is the one YAML file that it takes.
func journalToLoki(url string) string {
	return fmt.Sprintf("sources:\n  - name: journal\n    journald: {}\n    startAt: beginning\ntargets:\n  - name: loki\n    loki:\n      url: %q\n", url)
}

// dpkg -i, one YAML file, systemctl start: the first record is in Loki within two seconds.
func TestFromABareDebianToTheFirstRecord(t *testing.T) {
	deb := built(t, "older", "amd64.deb")
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	for _, suite := range suites {
		t.Run(suite, func(t *testing.T) {
			c := boot(t, suite)
			c.run(t, "dpkg", "-i", c.copyIn(t, deb))
			if state := c.property(t, "ActiveState"); state != "inactive" {
				t.Errorf("it is %s before anybody has started it", state)
			}
			if state := c.run(t, "systemctl", "is-enabled", "lbshipd.service"); state != "enabled" {
				t.Errorf("it is %s", state)
			}
			checkUnit(t, c)
			if out := c.run(t, "lbshipd", "check", configFile); !strings.Contains(out, "ok: 1 source, 0 targets") {
				t.Errorf("the configuration that is delivered: %s", out)
			}
			c.write(t, configFile, journalToLoki(loki.URL)+"      labels: {suite: "+suite+"}\n")
			begun := time.Now()
			if out, err := c.try("systemctl", "start", "lbshipd"); err != nil {
				t.Fatalf("starting: %v %s\n%s", err, out, c.log())
			}
			query := testbed.LokiQuery{Query: `{suite="` + suite + `"}`}
			await(t, 20*time.Second, "the first record is in Loki", func() bool { return len(loki.Query(t, query)) > 0 })
			took := time.Since(begun)
			t.Logf("%s: the first record was in Loki %s after systemctl start", suite, took.Round(time.Millisecond))
			if took > 2*time.Second {
				t.Errorf("the first record took %s", took)
			}
			checkReload(t, c, suite)
			c.run(t, "lbshipd", "status") // by the socket, as root, without being told where it is
			checkOwners(t, c)
			if stopped := c.run(t, "systemctl", "stop", "lbshipd"); stopped != "" || c.property(t, "Result") != "success" {
				t.Errorf("stopped: %s %s\n%s", stopped, c.property(t, "Result"), c.log())
			}
		})
	}
}

func checkUnit(t *testing.T, c *container) {
	t.Helper()
	if out, err := c.try("systemd-analyze", "verify", "--man=no", "lbshipd.service", "lbshipd.socket"); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v %s", err, out)
	}
	out := c.run(t, "systemd-analyze", "security", "--offline=true", "--no-pager", "/usr/lib/systemd/system/lbshipd.service")
	m := regexp.MustCompile(`exposure level for lbshipd.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze security says no level: %s", out)
	}
	level, _ := strconv.ParseFloat(m[1], 64)
	t.Logf("exposure level %s", m[1])
	if level > 1.5 {
		t.Errorf("exposure level %s:\n%s", m[1], out)
	}
}

// checkReload: a reload reads the file; where systemd knows notify-reload, it
// has been read when systemctl comes back.
func checkReload(t *testing.T, c *container, suite string) {
	t.Helper()
	want := "notify"
	if suite != "bookworm" {
		want = "notify-reload"
	}
	if got := c.property(t, "Type"); got != want {
		t.Errorf("Type=%s", got)
	}
	pid := c.property(t, "MainPID")
	text, err := os.ReadFile(c.path(configFile))
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, configFile, strings.Replace(string(text), "startAt: beginning", "minLevel: warning", 1))
	c.run(t, "systemctl", "reload", "lbshipd")
	level := func() string { out, _ := c.try("lbshipd", "get", "source", "journal", "-o", "yaml"); return out }
	if want == "notify-reload" && !strings.Contains(level(), "minLevel: warning") {
		t.Errorf("after the reload: %s", level())
	}
	await(t, 5*time.Second, "the file was read", func() bool { return strings.Contains(level(), "minLevel: warning") })
	if now := c.property(t, "MainPID"); now != pid || c.property(t, "ActiveState") != "active" {
		t.Errorf("the reload made process %s of %s, %s", now, pid, c.property(t, "ActiveState"))
	}
}

func checkOwners(t *testing.T, c *container) {
	t.Helper()
	for path, want := range map[string]string{
		"/etc/lbshipd": "root:lbshipd 750", configFile: "root:lbshipd 640", "/etc/lbshipd/daemon.env": "root:lbshipd 640",
		"/etc/lbshipd/credentials": "root:root 700", "/var/lib/lbshipd": "lbshipd:lbshipd 700", "/run/lbshipd/admin.sock": "lbshipd:lbshipd 600",
	} {
		if got := c.run(t, "stat", "-c", "%U:%G %a", path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	pid := c.property(t, "MainPID")
	status := c.run(t, "cat", "/proc/"+pid+"/status")
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("the daemon's process lacks %s", want)
		}
	}
}

// Removed, the state and the configuration stay; purged, they are gone.
// Installed again, it goes on where it was.
func TestRemoveReinstallAndPurge(t *testing.T) {
	deb := built(t, "older", "amd64.deb")
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	c := boot(t, "bookworm")
	deb = c.copyIn(t, deb)
	c.run(t, "dpkg", "-i", deb)
	c.write(t, configFile, journalToLoki(loki.URL))
	c.run(t, "systemctl", "start", "lbshipd")
	say := func(text string) { c.run(t, "systemd-cat", "-t", "said", "echo", text) }
	arrived := func(text string) int {
		return len(loki.Query(t, testbed.LokiQuery{Query: `{identifier="said"} |= "` + text + `"`}))
	}
	say("first")
	await(t, 20*time.Second, "the first is there", func() bool { return arrived("first") == 1 })

	c.run(t, "dpkg", "-r", "lbshipd")
	if out, err := c.try("pidof", "lbshipd"); err == nil {
		t.Errorf("removed, it runs as %s", out)
	}
	for path, want := range map[string]bool{"/var/lib/lbshipd/positions": true, configFile: true, "/usr/bin/lbshipd": false,
		"/usr/lib/systemd/system/lbshipd.service": false, "/usr/lib/systemd/system/lbshipd.service.d": false} {
		if c.exists(path) != want {
			t.Errorf("removed: %s is there: %v", path, !want)
		}
	}
	say("second")
	c.run(t, "dpkg", "-i", deb)
	c.run(t, "systemctl", "start", "lbshipd")
	await(t, 20*time.Second, "the second is there", func() bool { return arrived("second") == 1 })
	if n := arrived("first"); n != 1 {
		t.Errorf("the first is there %d times", n)
	}

	c.run(t, "dpkg", "--purge", "lbshipd")
	for _, path := range []string{"/var/lib/lbshipd", configFile, "/etc/lbshipd/daemon.env", "/etc/systemd/system/multi-user.target.wants/lbshipd.service"} {
		if c.exists(path) {
			t.Errorf("purged: %s is there", path)
		}
	}
	if out, err := c.try("systemctl", "cat", "lbshipd.service"); err == nil {
		t.Errorf("purged: systemd knows %s", out)
	}
}

// What an administrator has disabled stays disabled, and what he has changed
// stays as it is, in an upgrade.
func TestAnUpgradeRespectsTheAdministrator(t *testing.T) {
	c := boot(t, "bookworm")
	c.run(t, "dpkg", "-i", c.copyIn(t, built(t, "older", "amd64.deb")))
	c.run(t, "systemctl", "disable", "lbshipd.service")
	c.write(t, configFile, "# mine\n"+journalToLoki("http://127.0.0.1:1"))
	c.run(t, "chmod", "600", configFile)
	c.run(t, "chown", "lbshipd:lbshipd", "/etc/lbshipd", configFile)
	c.write(t, "/etc/tmpfiles.d/lbshipd.conf", "z /etc/lbshipd 0750 lbshipd lbshipd -\nz "+configFile+" 0600 lbshipd lbshipd -\n")
	c.run(t, "dpkg", "-i", c.copyIn(t, built(t, "newer", "amd64.deb")))
	if state, _ := c.try("systemctl", "is-enabled", "lbshipd.service"); state != "disabled" {
		t.Errorf("it is %s", state)
	}
	if state := c.property(t, "ActiveState"); state != "inactive" {
		t.Errorf("it is %s", state)
	}
	if text, _ := os.ReadFile(c.path(configFile)); !strings.HasPrefix(string(text), "# mine\n") {
		t.Errorf("the configuration is %s", text)
	}
	if got := c.run(t, "stat", "-c", "%U:%G %a", configFile); got != "lbshipd:lbshipd 600" {
		t.Errorf("the configuration is %s", got)
	}
}

// The rpm does what the deb does. Debian's rpm has no database of Debian's
// packages, and Fedora has none of Debian's helpers.
func TestRPMInstallUpgradeErase(t *testing.T) {
	c := boot(t, "bookworm")
	for _, helper := range []string{"/usr/bin/deb-systemd-helper", "/usr/bin/deb-systemd-invoke"} {
		if err := os.Remove(c.path(helper)); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t, "rpm", "-i", "--nodeps", c.copyIn(t, built(t, "older", "x86_64.rpm")))
	if state := c.property(t, "ActiveState"); state != "inactive" {
		t.Errorf("it is %s before anybody has started it", state)
	}
	if state := c.run(t, "systemctl", "is-enabled", "lbshipd.service"); state != "enabled" { // Debian's presets
		t.Errorf("it is %s", state)
	}
	checkUnit(t, c)
	c.write(t, configFile, "# mine\n"+journalToLoki("http://127.0.0.1:1"))
	c.run(t, "systemctl", "start", "lbshipd")
	checkOwners(t, c)
	pid := c.property(t, "MainPID")
	c.run(t, "rpm", "-U", "--nodeps", c.copyIn(t, built(t, "newer", "x86_64.rpm")))
	if now := c.property(t, "MainPID"); now == pid || now == "0" {
		t.Errorf("upgraded, it runs as process %s, before as %s", now, pid)
	}
	if out := c.run(t, "lbshipd", "version"); !strings.Contains(out, newer) {
		t.Errorf("it is %s", out)
	}
	if text, _ := os.ReadFile(c.path(configFile)); !strings.HasPrefix(string(text), "# mine\n") {
		t.Errorf("the configuration is %s", text)
	}
	checkOwners(t, c)
	c.run(t, "rpm", "-e", "lbshipd")
	if out, err := c.try("pidof", "lbshipd"); err == nil {
		t.Errorf("erased, it runs as %s", out)
	}
	for path, want := range map[string]bool{"/var/lib/lbshipd/positions": true, configFile + ".rpmsave": true, "/usr/bin/lbshipd": false,
		"/etc/systemd/system/multi-user.target.wants/lbshipd.service": false} {
		if c.exists(path) != want {
			t.Errorf("erased: %s is there: %v", path, !want)
		}
	}
}

// With the socket unit nobody is refused while the daemon restarts.
func TestSocketUnitHoldsTheAdminPort(t *testing.T) {
	c := boot(t, "bookworm")
	c.run(t, "dpkg", "-i", c.copyIn(t, built(t, "older", "amd64.deb")))
	c.run(t, "systemctl", "enable", "--now", "lbshipd.socket")
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		answer, err := client.Get("http://127.0.0.1:9600/version")
		if err != nil {
			return err
		}
		answer.Body.Close()
		return nil
	}
	if err := get(); err != nil { // which starts the daemon
		t.Fatal(err)
	}
	if state := c.property(t, "ActiveState"); state != "active" {
		t.Errorf("it is %s", state)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5 {
			if out, err := c.try("systemctl", "restart", "lbshipd.service"); err != nil {
				t.Errorf("restarting: %v %s", err, out)
			}
		}
	}()
	asked, refused := 0, 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		asked++
		if err := get(); err != nil {
			t.Error(err)
			if refused++; refused > 3 {
				break
			}
		}
	}
	t.Logf("%d requests during 5 restarts, %d refused", asked, refused)
	if asked < 10 {
		t.Errorf("only %d requests", asked)
	}
}

// A file that the user may not read is read with the drop-ins that are delivered.
func TestDropInsForUnreadableFiles(t *testing.T) {
	gated(t)
	loki := testbed.StartLoki(t, testbed.LokiOptions{})
	c := boot(t, "bookworm")
	c.run(t, "dpkg", "-i", c.copyIn(t, built(t, "older", "amd64.deb")))
	c.run(t, "groupadd", "--system", "postgres")
	for name, owner := range map[string]string{"root": "root:root", "group": "root:postgres"} {
		c.write(t, "/var/log/"+name+".log", "a line of "+name+"\n")
		c.run(t, "chown", owner, "/var/log/"+name+".log")
		c.run(t, "chmod", "640", "/var/log/"+name+".log")
	}
	c.write(t, configFile, fmt.Sprintf("sources:\n  - name: files\n    file: {paths: [/var/log/root.log, /var/log/group.log]}\n    startAt: beginning\n"+
		"targets:\n  - name: loki\n    loki: {url: %q}\n", loki.URL))
	c.run(t, "systemctl", "start", "lbshipd")
	lines := func() (all string) {
		for _, e := range loki.Query(t, testbed.LokiQuery{}) {
			all += e.Line + "\n"
		}
		return all
	}
	await(t, 20*time.Second, "it says what it cannot read", func() bool { return strings.Contains(c.log(), "/var/log/root.log") })
	if got := lines(); got != "" {
		t.Errorf("before any drop-in: %s", got)
	}
	use := func(name string) {
		c.run(t, "mkdir", "-p", "/etc/systemd/system/lbshipd.service.d")
		c.run(t, "cp", "/usr/share/doc/lbshipd/examples/"+name, "/etc/systemd/system/lbshipd.service.d/")
		c.run(t, "systemctl", "daemon-reload")
		c.run(t, "systemctl", "restart", "lbshipd")
	}
	use("group.conf")
	await(t, 20*time.Second, "the group's file is read", func() bool { return lines() == "a line of group\n" })
	use("read-every-file.conf")
	await(t, 20*time.Second, "root's file is read", func() bool { return strings.Contains(lines(), "a line of root\n") })
}
