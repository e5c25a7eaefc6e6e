package spool

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const childEnv = "LBSHIPD_SPOOL_CHILD"

// TestMain makes the process that TestKilledProcessKeepsItsPromises kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		appendForEver(dir)
	}
	os.Exit(m.Run())
}

// appendForEver appends numbered lines where the spool ends, and prints the
// number up to which they are promised. It answers now and then.
func appendForEver(dir string) {
	fail := func(err error) {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	s, err := Open(dir, Options{MaxBytes: 1 << 30, SegmentBytes: 8 << 10})
	if err != nil {
		fail(err)
	}
	var t testing.T
	for n := int(s.at.nextRecord) - 1; ; n += 7 {
		if _, err := s.Append([]Entry{{Batch: batchOf(&t, n, n+7)}}); err != nil {
			fail(err)
		}
		fmt.Println(n + 7)
	}
}

// A real process is killed at random moments in the midst of appending: all that
// it was promised is there, in order, and nothing counts as lost.
func TestKilledProcessKeepsItsPromises(t *testing.T) {
	dir := t.TempDir()
	rnd := seeded(t)
	promised, torn, read := 0, 0, 0
	for range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		until := time.Duration(20+rnd.IntN(150)) * time.Millisecond
		timer := time.AfterFunc(until, func() { cmd.Process.Kill() }) // the moment of the kill
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "failed") {
				t.Fatal(lines.Text())
			}
			fmt.Sscan(lines.Text(), &promised)
		}
		timer.Stop()
		cmd.Wait()
		if stderr.Len() > 0 {
			t.Fatal(stderr.String())
		}
		s, said := open(t, dir, Options{SegmentBytes: 8 << 10})
		torn += said.count(OpTorn)
		d := drain(t, s, false)
		end := int(s.at.nextRecord) - 1
		if d.lost != 0 || end < promised {
			t.Fatalf("%d promised, %d are there, %d lost", promised, end, d.lost)
		}
		wantRange(t, d.lines, read, end)
		// Half of it is answered, so that the next one finds a cursor in the midst.
		if half := d.last.Number / 2; half > s.at.answered {
			s.Answered(Frame{half, 7*half + 1})
			read = int(7 * half)
		}
		s.Close()
	}
	if promised < 50 {
		t.Errorf("only %d lines were promised: that proves little", promised)
	}
	t.Logf("%d lines promised in 12 lives, %d torn ends", promised, torn)
}
