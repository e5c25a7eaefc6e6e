package packaging

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// early is a unit that writes before lbshipd is started, and after it has stopped.
const early = `[Unit]
DefaultDependencies=no
After=systemd-journald.service
Before=lbshipd.service shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo early of boot $(cat /etc/boot-number)'
ExecStop=/bin/sh -c 'echo late of boot $(cat /etc/boot-number)'
`

// What arrives over two boots, by where the journal and the positions are: what is
// written in a boot before lbshipd runs always does, once; restarting the daemon
// repeats nothing; what is written after it has stopped arrives from a journal on disk; and
// of one in memory it is said that nobody knows what was in it.
func TestApplianceBootsTwice(t *testing.T) {
	for _, c := range []struct {
		name    string
		journal string // as journald.conf calls it
		keeps   bool   // /var/lib, with the positions, outlives the boot
		again   int    // how often what the first boot wrote is there
		late    int    // how often what was written after the stop is there
		gaps    int    // how often it is said that something may be lost
	}{
		{"journal and positions in memory", "volatile", false, 1, 0, 0},
		{"journal in memory, positions on disk", "volatile", true, 1, 0, 1},
		{"both on disk", "persistent", true, 1, 1, 0},
		{"journal on disk, positions in memory", "persistent", false, 2, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			siem, prepare := applianceImage(t)
			data := []string{"--volatile=state"}
			if c.journal == "persistent" {
				data = append(data, "--bind="+t.TempDir()+":/var/log/journal")
			}
			if c.keeps {
				data = append(data, "--bind="+t.TempDir()+":/var/lib")
			}
			for boot := 1; boot <= 2; boot++ {
				t.Run(fmt.Sprint("boot ", boot), func(t *testing.T) {
					a := &appliance{bootImage(t, applianceSuite, func(i *container) {
						prepare(i)
						i.journalIn(t, c.journal)
						i.write(t, "/etc/boot-number", fmt.Sprint(boot))
						i.write(t, "/etc/systemd/system/early.service", early)
						link := i.path("/etc/systemd/system/multi-user.target.wants/early.service")
						if err := os.Symlink("../early.service", link); err != nil {
							t.Fatal(err)
						}
					}, data...), siem}
					a.said(t, fmt.Sprintf("early of boot %d", boot))
					if boot == 1 {
						a.answersItsCommands(t)
					}
					a.run(t, "systemctl", "restart", "lbshipd")
					a.run(t, "systemd-cat", "echo", fmt.Sprintf("restarted in boot %d", boot))
					a.said(t, fmt.Sprintf("restarted in boot %d", boot))
				})
			}
			for text, want := range map[string]int{"early of boot 1": c.again, "restarted in boot 1": c.again, "late of boot 1": c.late,
				"early of boot 2": 1, "restarted in boot 2": 1} {
				if got := heard(t, siem, text); got != want {
					t.Errorf("%q arrived %d times, want %d", text, got, want)
				}
			}
			gaps := 0
			siem.Each(t, func(m *testbed.RsyslogMessage) {
				// The gap record, not what the daemon says of it in its own log.
				if !strings.HasPrefix(strings.TrimSpace(m.Msg), "time=") && strings.Contains(m.Msg, "another one is in its place, how much is not known") {
					gaps++
				}
			})
			if gaps != c.gaps {
				t.Errorf("it is said %d times that something may be lost, want %d", gaps, c.gaps)
			}
		})
	}
}

// heard counts how often a message has arrived.
func heard(t *testing.T, siem *testbed.Rsyslog, text string) (n int) {
	siem.Each(t, func(m *testbed.RsyslogMessage) {
		if strings.TrimSpace(m.Msg) == text {
			n++
		}
	})
	return n
}

func (a *appliance) said(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Log(a.log())
		}
	}()
	await(t, 30*time.Second, text+" has arrived", func() bool { return heard(t, a.siem, text) > 0 })
}

// answersItsCommands tries what an administrator types on an appliance.
func (a *appliance) answersItsCommands(t *testing.T) {
	t.Helper()
	if out, err := a.try("systemd-analyze", "verify", "--man=no", "lbshipd.service"); err != nil || out != "" {
		t.Errorf("systemd-analyze verify: %v %s", err, out)
	}
	a.write(t, "/etc/lbshipd/files.yaml", "sources:\n  - name: logs\n    file: {paths: [/var/log/*.log]}\n")
	for _, c := range []struct {
		command string
		fails   bool
		says    string
	}{
		{"lbshipd version", false, older + " (appliance) "},
		{"lbshipd check " + configFile, false, "ok: 1 source, 1 target"},
		{"lbshipd status", false, "journal"},
		{"systemd-analyze security --offline=true --no-pager --threshold=15 /usr/lib/systemd/system/lbshipd.service", false, "exposure level"},
		{"lbshipd check /etc/lbshipd/files.yaml", true, `files.yaml:3: source "logs": file: this build (appliance) has no file source`},
		{"lbshipd run --etcd-endpoints 127.0.0.1:2379", true, "--etcd-endpoints: this build (appliance) has no etcd client"},
		{"lbshipd get sources", true, "this build (appliance) has no API"},
		{"lbshipd run --listen off --config " + configFile + " --data-dir /usr/share/lbshipd", true, "read-only file system\n  The positions must be kept somewhere"},
	} {
		out, err := a.try(strings.Fields(c.command)...)
		if (err != nil) != c.fails || !strings.Contains(out, c.says) {
			t.Errorf("%s: %v\n%s\nwant in it: %s", c.command, err, out, c.says)
		}
	}
}
