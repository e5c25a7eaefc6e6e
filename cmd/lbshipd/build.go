//go:build !appliance

package main

import (
	"context"
	_ "embed"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/admin/rest"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
)

// What differs between this build and the one for appliances (build_appliance.go) is
// here and in etcd.go, beside the sources in pipeline/registry_file.go.

//go:embed default.yaml
var defaultConfig []byte

// flavour tells the builds apart in "lbshipd version".
const flavour = ""

const (
	// gcPercent is how much the heap may grow over what lives in it, in percent;
	// the environment variable GOGC wins.
	gcPercent = 50
	// What the heap is to be kept to: baseMemory for readers, encoders and the rest
	// beside the queues, of which a half may be garbage. It is a goal: where more
	// lives than that, it is used.
	baseMemory = 18 << 20
)

// moreCommands are those that an appliance has no use for.
func moreCommands() []*cobra.Command {
	return append(ctl.Commands(ctlOptions()), newDoctor(), newToken(), newKeygen(), newRotateSecrets(), newSupportBundle())
}

// leftOut says why a flag or command of another build is not in this one.
func leftOut(string) string { return "" }

// api answers below /api.
func (d *running) api() http.Handler {
	return rest.New(rest.Options{Store: d.origin.store, Collectors: d.origin.collectors, Test: d.test, Log: d.log, Version: ownVersion()})
}

// test tests a target.
func (d *running) test(ctx context.Context, t *config.Target, b *config.TLSBundle) any {
	o := pipeline.TestOptions{Host: d.host, Dir: d.origin.dir}
	if who, ok := auth.From(ctx); ok {
		o.By = who.Name
	}
	return pipeline.TestTarget(ctx, t, b, o)
}

// These are for where memory is scarce.
func startSparing()               {}
func keepSparing(context.Context) {}
