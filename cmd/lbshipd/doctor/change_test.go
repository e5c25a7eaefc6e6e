package doctor

import (
	"testing"

	"github.com/lbshipd/lbshipd/config"
)

// Where the configuration is in a file, the remedy is to edit that: the daemon of a package
// may not write it, so that lbshipd create and edit are refused.
func TestTheConfigurationIsChangedWhereItIs(t *testing.T) {
	for file, want := range map[string][2]string{
		"":                          {"lbshipd create target loki", "lbshipd edit target loki"},
		"/etc/lbshipd/lbshipd.yaml": {"${EDITOR:-vi} /etc/lbshipd/lbshipd.yaml", "${EDITOR:-vi} /etc/lbshipd/lbshipd.yaml"},
	} {
		p := &patient{Options: Options{Config: file}}
		if got := p.create("targets: [{name: loki}]", "lbshipd create target loki").Run; got != want[0] {
			t.Errorf("%q: %q, want %q", file, got, want[0])
		}
		if got := p.edit("Correct it.", config.KindTarget, "loki").Run; got != want[1] {
			t.Errorf("%q: %q, want %q", file, got, want[1])
		}
	}
}
