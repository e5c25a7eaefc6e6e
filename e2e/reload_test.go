package e2e

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// consoleConfig reads log files in dir and prints them as they are.
func consoleConfig(dir, minLevel string) string {
	return fmt.Sprintf(`
sources:
  - name: app
    file: {paths: ["%s/*.log"]}
    logFormat: json
    minLevel: %s
targets:
  - name: console
    stdout: {format: json}
`, dir, minLevel)
}

func TestChangedFileTakesEffectWithoutARestart(t *testing.T) {
	t.Parallel()
	for name, swap := range map[string]func(t *testing.T, conf, text string){
		"written in place": func(t *testing.T, conf, text string) { write(t, conf, text) },
		"swapped by rename": func(t *testing.T, conf, text string) {
			if err := os.Rename(write(t, conf+".new", text), conf); err != nil {
				t.Fatal(err)
			}
		},
		"swapped by symbolic link as Kubernetes does": swapConfigMap,
	} {
		t.Run(name, func(t *testing.T) {
			logs, conf := t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml")
			if strings.Contains(name, "symbolic") {
				swapConfigMap(t, conf, consoleConfig(logs, "warning"))
			} else {
				write(t, conf, consoleConfig(logs, "warning"))
			}
			d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
			pid := d.cmd.Process.Pid
			log := filepath.Join(logs, "a.log")
			appendTo(t, log, `{"level":"info","msg":"one"}`+"\n"+`{"level":"error","msg":"two"}`+"\n")
			await(t, "the error", func() bool { return strings.Contains(d.stdout.String(), "two") })
			if strings.Contains(d.stdout.String(), "one") {
				t.Errorf("info passed minLevel warning: %s", &d.stdout)
			}
			soon(t, "the change", []string{"info", "debug", "trace"}, func(level string) {
				swap(t, conf, consoleConfig(logs, level))
				i := 0
				await(t, "a record of level "+level, func() bool {
					i++
					appendTo(t, log, `{"level":%q,"msg":"three %s %d"}`+"\n", level, level, i)
					return strings.Contains(d.stdout.String(), "three "+level)
				})
			})
			if code := d.stop(); code != 0 || d.cmd.Process.Pid != pid {
				t.Errorf("exit code %d", code)
			}
			if n := strings.Count(d.stdout.String(), `two\"`); n != 1 {
				t.Errorf("the record before the change was shipped %d times", n)
			}
		})
	}
}

// soon changes minLevel to one level after the other, until that takes no longer than 2 s. A machine
// that stands still for that long does not do so each time.
func soon(t *testing.T, what string, levels []string, change func(level string)) {
	t.Helper()
	var all []time.Duration
	for _, level := range levels {
		changed := time.Now()
		change(level)
		took := time.Since(changed)
		if took <= 2*time.Second {
			return
		}
		all = append(all, took)
	}
	t.Errorf("%s took %v", what, all)
}

// swapConfigMap puts text at conf in the way of the kubelet: conf leads through
// ..data to a directory of its own, and ..data is swapped by rename.
func swapConfigMap(t *testing.T, conf, text string) {
	t.Helper()
	dir := filepath.Dir(conf)
	version, err := os.MkdirTemp(dir, "..2026_")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(version, filepath.Base(conf)), text)
	if err := os.Symlink(filepath.Base(version), filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(conf); err == nil {
		return
	}
	if err := os.Symlink(filepath.Join("..data", filepath.Base(conf)), conf); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenFileLeavesTheRunningConfiguration(t *testing.T) {
	t.Parallel()
	logs, conf := t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, conf, consoleConfig(logs, "info"))
	d := start(t, nil, "--config", conf, "--data-dir", t.TempDir())
	log := filepath.Join(logs, "a.log")
	appendTo(t, log, `{"level":"info","msg":"before"}`+"\n")
	await(t, "the first record", func() bool { return strings.Contains(d.stdout.String(), "before") })

	write(t, conf, strings.ReplaceAll(consoleConfig(logs, "info"), "minLevel", "minLevle"))
	d.cmd.Process.Signal(syscall.SIGHUP)
	await(t, "the error", func() bool { return strings.Contains(d.stderr.String(), "minLevle") })
	for _, want := range []string{"lbshipd.yaml:6", `source \"app\"`, "minLevel"} {
		if !strings.Contains(d.stderr.String(), want) {
			t.Errorf("the error does not name %s:\n%s", want, &d.stderr)
		}
	}
	if v := d.metric("lbshipd_config_last_reload_successful"); v != "0" {
		t.Errorf("lbshipd_config_last_reload_successful is %q", v)
	}
	if code, body := d.get("/-/healthy"); code != 200 || !strings.Contains(body, "minLevle") {
		t.Errorf("/-/healthy: %d %s", code, body)
	}
	appendTo(t, log, `{"level":"info","msg":"after"}`+"\n")
	await(t, "the next record", func() bool { return strings.Contains(d.stdout.String(), "after") })

	write(t, conf, consoleConfig(logs, "info"))
	await(t, "the mended file", func() bool { return d.metric("lbshipd_config_last_reload_successful") == "1" })
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestBrokenFileAtTheStartIsAnError(t *testing.T) {
	t.Parallel()
	conf := write(t, filepath.Join(t.TempDir(), "lbshipd.yaml"), "sources:\n  - name: x\n    file: {}\n")
	code, _, stderr := lbshipd(t, "run", "--config", conf, "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")
	if code != 1 || !strings.Contains(stderr, `lbshipd.yaml:3: source "x": file.paths`) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestCheckTellsEveryErrorAtOnce(t *testing.T) {
	t.Parallel()
	conf := write(t, filepath.Join(t.TempDir(), "bad.yaml"), `sources:
  - name: app
    file: {paths: ["/var/log/*.log"]}
    minLevel: wranings
targets:
  - name: siem
    rsyslog:
      address: nowhere
      tlsBundel: x
`)
	code, _, stderr := lbshipd(t, "check", conf)
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{`bad.yaml:4: source "app": minLevel: `, `bad.yaml:8: target "siem": rsyslog.address: `,
		`bad.yaml:9: target "siem": rsyslog.tlsBundel: `, "tlsBundle"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in:\n%s", want, stderr)
		}
	}
	good := write(t, filepath.Join(t.TempDir(), "good.yaml"), consoleConfig("/tmp", "info"))
	if code, stdout, _ := lbshipd(t, "check", good); code != 0 || !strings.Contains(stdout, "ok") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
	if code, _, _ := lbshipd(t, "check"); code != 2 {
		t.Errorf("wrong usage: exit code %d, want 2", code)
	}
	if code, _, _ := lbshipd(t, "check", "--nosuch", good); code != 2 {
		t.Errorf("unknown flag: exit code %d, want 2", code)
	}
}

func TestRestartRepeatsAndLosesNothing(t *testing.T) {
	t.Parallel()
	logs, data, conf := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml")
	write(t, conf, consoleConfig(logs, "info"))
	log := filepath.Join(logs, "a.log")
	all := ""
	for round := range 4 {
		d := start(t, nil, "--config", conf, "--data-dir", data)
		if round == 0 {
			if code, _, stderr := lbshipd(t, "run", "--config", conf, "--data-dir", data, "--listen", "127.0.0.1:0"); code != 1 ||
				!strings.Contains(stderr, "another lbshipd uses this data directory") {
				t.Errorf("second daemon on one data directory: exit code %d, %s", code, stderr)
			}
		}
		for i := range 100 {
			appendTo(t, log, `{"level":"info","msg":"r%d-%d."}`+"\n", round, i)
		}
		await(t, "the round", func() bool { return strings.Contains(d.stdout.String(), fmt.Sprintf("r%d-99.", round)) })
		if code := d.stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		all += d.stdout.String()
		// What is written, and rotated away, while nobody runs is not lost.
		appendTo(t, log, `{"level":"info","msg":"d%d."}`+"\n", round)
		if round%2 == 1 {
			if err := os.Rename(log, fmt.Sprintf("%s.%d", log, round)); err != nil {
				t.Fatal(err)
			}
			appendTo(t, log, `{"level":"info","msg":"n%d."}`+"\n", round)
		}
	}
	d := start(t, nil, "--config", conf, "--data-dir", data)
	await(t, "the last round", func() bool {
		return strings.Contains(d.stdout.String(), "n3.") && strings.Contains(d.stdout.String(), "d3.")
	})
	d.stop()
	all += d.stdout.String()
	for round := range 4 {
		for i := range 100 {
			if n := strings.Count(all, fmt.Sprintf(`r%d-%d.\"`, round, i)); n != 1 {
				t.Errorf("record %d of round %d is there %d times", i, round, n)
			}
		}
		if n := strings.Count(all, fmt.Sprintf(`d%d.\"`, round)); n != 1 {
			t.Errorf("record written while down after round %d is there %d times", round, n)
		}
	}
	code, stdout, _ := lbshipd(t, "inspect", "positions", "--data-dir", data)
	if code != 0 || !strings.Contains(stdout, "app") || !strings.Contains(stdout, "console") {
		t.Errorf("inspect positions: %d %s", code, stdout)
	}
}

func TestServiceManagerIsToldWhatGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	var told output
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			told.Write(append(buf[:n:n], '\n', '\n'))
		}
	}()
	conf := write(t, filepath.Join(dir, "lbshipd.yaml"), consoleConfig(t.TempDir(), "info"))
	d := start(t, []string{"NOTIFY_SOCKET=" + filepath.Join(dir, "notify"), "WATCHDOG_USEC=600000"}, "--config", conf, "--data-dir", t.TempDir())
	await(t, "READY=1", func() bool { return strings.Contains(told.String(), "READY=1") })
	await(t, "three signs of life", func() bool { return strings.Count(told.String(), "WATCHDOG=1") >= 3 })
	if !strings.Contains(told.String(), "STATUS=1 source, 1 target") {
		t.Errorf("no status line: %s", &told)
	}
	d.cmd.Process.Signal(syscall.SIGHUP)
	await(t, "RELOADING=1 and READY=1 again", func() bool {
		_, after, found := strings.Cut(told.String(), "RELOADING=1")
		return found && strings.Contains(after, "MONOTONIC_USEC=") && strings.Contains(after, "READY=1")
	})
	if code := d.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	await(t, "STOPPING=1", func() bool { return strings.Contains(told.String(), "STOPPING=1") })
}
