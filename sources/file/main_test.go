package file

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The test binary is its own writer, so that a benchmark counts the reading only.
func TestMain(m *testing.M) {
	if dir := os.Getenv("FILE_TEST_WRITER"); dir != "" {
		writeFiles(dir)
		return
	}
	os.Exit(m.Run())
}

func startWriter(tb testing.TB, dir string, files int, d time.Duration) (wait func()) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "FILE_TEST_WRITER="+dir, fmt.Sprint("FILE_TEST_FILES=", files), "FILE_TEST_FOR="+d.String())
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return func() {
		if err := cmd.Wait(); err != nil {
			tb.Fatal(err)
		}
	}
}

// writeFiles appends 50,000 lines of 150 bytes a second, ten at a time, to
// the files of a directory in turn.
func writeFiles(dir string) {
	count, _ := strconv.Atoi(os.Getenv("FILE_TEST_FILES"))
	d, _ := time.ParseDuration(os.Getenv("FILE_TEST_FOR"))
	files := make([]*os.File, count)
	for i := range files {
		files[i], _ = os.OpenFile(filepath.Join(dir, fmt.Sprintf("%d.log", i)), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	}
	lines := bytes.Repeat(append(bytes.Repeat([]byte("x"), 149), '\n'), 10)
	began := time.Now()
	for n := 0; time.Since(began) < d; n++ {
		files[n%count].Write(lines)
		if ahead := time.Duration(n)*200*time.Microsecond - time.Since(began); ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
}
