package doctor

import "testing"

// Where the configuration is in a file, the remedy is to edit that: the daemon of a package
// may not write it, so that lbshipd create and edit are refused.
func TestTheConfigurationIsChangedWhereItIs(t *testing.T) {
	for config, want := range map[string]Remedy{
		"":                          {"Add one, for instance.", "lbshipd create target loki"},
		"/etc/lbshipd/lbshipd.yaml": {"Add one.", "editor /etc/lbshipd/lbshipd.yaml"},
	} {
		if got := (&patient{Options: Options{Config: config}}).change("Add one, for instance.", "Add one.", "lbshipd create target loki"); got != want {
			t.Errorf("%q: %+v, want %+v", config, got, want)
		}
	}
}
