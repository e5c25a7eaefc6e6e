package appliance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Some distributions build every program position-independent: giving back the program's pages
// must not undo what the loader has written into them.
func TestPositionIndependentBuildStarts(t *testing.T) {
	program := filepath.Join(t.TempDir(), "lbshipd")
	build := exec.Command("go", "build", "-buildmode=pie", "-tags", "appliance,nethttpomithttp2", "-o", program, "github.com/lbshipd/lbshipd/cmd/lbshipd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program, "run", "--config", filepath.Join(t.TempDir(), "none.yaml"), "--data-dir", t.TempDir(), "--listen", "off").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "none.yaml") || strings.Contains(string(out), "goroutine") {
		t.Errorf("%v: %s", err, out)
	}
}
