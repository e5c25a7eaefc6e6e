package filestore

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// TestMain is also what TestKilled kills: a process that writes until then.
func TestMain(m *testing.M) {
	if path := os.Getenv("LBSHIPD_TEST_WRITES"); path != "" {
		writeForEver(path)
	}
	os.Exit(m.Run())
}

// writeForEver changes one label of both objects in each Write, counts it up, and
// says so after each.
func writeForEver(path string) {
	s, err := Open(path, nil)
	if err != nil {
		panic(err)
	}
	s.KeepHistory(filepath.Dir(path))
	for n := 1; ; n++ {
		var changes []config.Change
		for _, name := range []string{"a", "b"} {
			d, err := config.Decode(config.KindSource, "x", fmt.Appendf(nil, "{name: %s, journald: {}, labels: {n: '%d'}}", name, n))
			if err != nil {
				panic(err)
			}
			changes = append(changes, config.Change{Kind: config.KindSource, Name: name, Draft: &d})
		}
		if _, err := s.Write(context.Background(), changes, config.WriteOptions{Author: config.Author{Name: "x"}}); err != nil {
			panic(err)
		}
		fmt.Println(n)
	}
}

// TestKilled kills a process that writes at any moment: the file is always whole, holds
// all of a Write or nothing of it, and what was answered is in it; the history can be read.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lbshipd.yaml")
	begin := "# ours\nsources:\n- name: a # first\n  journald: {}\n- name: b # second\n  journald: {}\ntargets: []\n"
	random := rand.New(rand.NewPCG(5, 6))
	for range 25 {
		must(t, os.WriteFile(path, []byte(begin), 0o640))
		answered := killedAfter(t, path, time.Duration(random.IntN(30_000))*time.Microsecond)
		data, err := os.ReadFile(path)
		must(t, err)
		if !strings.HasPrefix(string(data), "# ours\n") || !strings.Contains(string(data), "# second") {
			t.Fatalf("got %q", data)
		}
		var labels []string
		for _, o := range objectsOf(t, data) {
			labels = append(labels, o.Object.(*config.Source).Labels["n"])
		}
		if len(labels) != 2 || labels[0] != labels[1] {
			t.Fatalf("half of a Write: %v", labels)
		}
		var n int
		_, _ = fmt.Sscan(labels[0], &n) // nothing yet is 0
		if n != answered && n != answered+1 {
			t.Fatalf("%d is in the file, %d was answered", n, answered)
		}
		h, err := openHistory(dir)
		must(t, err)
		if len(h.Revisions) == 0 && answered > 0 {
			t.Fatal("no history")
		}
	}
	s := reopened(t, path, dir)
	if _, err := s.Write(context.Background(), []config.Change{source(t, "c", "")}, root); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// killedAfter runs the process, kills it a while after its first Write began, and returns what it
// has answered last.
func killedAfter(t *testing.T, path string, wait time.Duration) (answered int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LBSHIPD_TEST_WRITES="+path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	if lines.Scan() {
		answered = 1
	}
	killed := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
	defer killed.Stop()
	for lines.Scan() {
		_, _ = fmt.Sscan(lines.Text(), &answered)
	}
	_ = cmd.Wait() // it was killed
	return answered
}
