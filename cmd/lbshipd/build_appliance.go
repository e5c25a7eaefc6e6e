//go:build appliance

package main

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// The build for appliances: see build.go.

//go:embed default_appliance.yaml
var defaultConfig []byte

const flavour = " (appliance)"

const (
	gcPercent  = 50
	baseMemory = 7 << 20
)

func moreCommands() []*cobra.Command { return nil }

const (
	noEtcd = "this build (appliance) has no etcd client; its configuration is one file: --config FILE"
	noAPI  = "this build (appliance) has no API; change the configuration file, which is read again by itself"
)

func leftOut(name string) string {
	switch name {
	case "cluster-key-file", "collector-stale-after", "collector-offline-after", "keygen", "rotate-secrets":
		return noEtcd
	case "get", "create", "update", "delete", "apply", "diff", "edit", "enable", "disable", "test", "history", "rollback", "whoami", "token":
		return noAPI
	}
	if name == "doctor" {
		return "this build (appliance) has no doctor; \"lbshipd check\" looks at the configuration and \"lbshipd status\" at what runs"
	}
	if name == "support-bundle" {
		return "this build (appliance) makes no support bundles; lbshipd status, lbshipd inspect positions and the daemon's log say how it does"
	}
	if strings.HasPrefix(name, "etcd-") {
		return noEtcd
	}
	return ""
}

func (*running) api() http.Handler { return nil }
