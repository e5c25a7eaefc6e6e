// Package appliance holds the tests of the build for appliances: what is in it,
// and what it does in a system of its own that has nothing else.
package appliance

import (
	"os/exec"
	"strings"
	"testing"
)

// unwanted are packages, with all below them, that an appliance does not have.
var unwanted = []string{
	"go.etcd.io", "google.golang.org/grpc", "go.uber.org/zap", "html/template",
	"github.com/lbshipd/lbshipd/config/etcdstore", "github.com/lbshipd/lbshipd/internal/seal",
	"github.com/lbshipd/lbshipd/sources/file", "github.com/lbshipd/lbshipd/admin/rest",
}

func imports(t *testing.T, tags string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", tags, "./cmd/lbshipd")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

func among(packages []string, name string) bool {
	for _, p := range packages {
		if p == name || strings.HasPrefix(p, name+"/") {
			return true
		}
	}
	return false
}

// What the appliance leaves out is not linked, and is in the other build: else
// the names here are wrong.
func TestTheApplianceImportsNeitherEtcdNorFiles(t *testing.T) {
	appliance, full := imports(t, "appliance"), imports(t, "")
	for _, name := range unwanted {
		if among(appliance, name) {
			t.Errorf("the appliance imports %s", name)
		}
		if !among(full, name) {
			t.Errorf("the full build does not import %s: is it called so?", name)
		}
	}
	if !among(appliance, "github.com/lbshipd/lbshipd/sources/journald") {
		t.Error("the appliance does not read journals")
	}
}
