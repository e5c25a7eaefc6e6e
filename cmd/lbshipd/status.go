package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/positions"
)

// Limits of asking a daemon for its status.
const (
	statusTimeout  = 10 * time.Second
	maxStatusBytes = 64 << 20
)

type statusOptions struct {
	address string
	output  string
	dataDir string
	all     bool
}

func newStatus() *cobra.Command {
	var o statusOptions
	var connection *ctl.Connection
	outputs := []string{"text", "json"}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what runs, and what became of every record",
		Long: `Show what the daemon runs, how its targets do, and the ledger: what became of
every record, by source and target. For each row
  read = delivered + filtered + refused + lost + in flight
holds at all times. AT RISK is what the target has not taken and the source will
drop some day, and in how long it is likely to begin with that.

With --all it shows all nodes: what each reports of itself and of its targets, and
what is to be looked at. For that the daemon that --endpoint names is asked.

With --data-dir no daemon is asked: the ledger that is stored there is shown,
which is without what is in flight.

The exit code is 0 if all is well, 1 if something is not as it should be (a
target that takes no records, a configuration that was refused, positions that
cannot be saved, a ledger that does not add up, a source that will soon drop what
was not taken) or if the daemon does not answer, and 2 on wrong usage.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(outputs, o.output) {
				return usageError{fmt.Errorf("-o %q: want one of %v", o.output, outputs)}
			}
			if name := connection.Changed(c); name != "" && !o.all {
				return usageError{fmt.Errorf("--%s is for --all; the status of one node is asked for with --address", name)}
			}
			offline := c.Flags().Changed("data-dir")
			if o.all && (offline || c.Flags().Changed("address")) {
				return usageError{errors.New("--all asks the daemon that --endpoint names: leave --address and --data-dir out")}
			}
			if o.all {
				return allStatus(c, &o, connection)
			}
			if offline && c.Flags().Changed("address") {
				return usageError{errors.New("--address asks a daemon and --data-dir asks none: give one of them")}
			}
			if offline {
				return storedStatus(c.OutOrStdout(), &o)
			}
			return liveStatus(c.Context(), c.OutOrStdout(), &o)
		},
	}
	c.Flags().StringVar(&o.address, "address", "http://127.0.0.1:9600", "the daemon's admin port: what it was given as --listen")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "text or json (see docs/metrics.md, /status)")
	c.Flags().StringVar(&o.dataDir, "data-dir", "", "show the ledger that is stored in this directory, without asking a daemon")
	c.Flags().BoolVar(&o.all, "all", false, "show all nodes instead of this one")
	connection = ctl.NewConnection(c, ctlOptions())
	return c
}

// allStatus shows all nodes.
func allStatus(c *cobra.Command, o *statusOptions, connection *ctl.Connection) error {
	api, err := connection.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	ok, err := ctl.PrintNodes(c.Context(), c.OutOrStdout(), api, o.output == "json")
	if err == nil && !ok {
		err = failedError{}
	}
	return err
}

// liveStatus asks a daemon.
func liveStatus(ctx context.Context, w io.Writer, o *statusOptions) error {
	base, err := adminURL(o.address)
	if err != nil {
		return usageError{err}
	}
	body, err := ask(ctx, base+"/status")
	if err != nil {
		return err
	}
	var st admin.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", base, err)
	}
	if o.output == "json" {
		_, err = w.Write(body)
	} else {
		err = printStatus(w, &st, time.Now())
	}
	if err == nil && st.Status != "ok" {
		err = failedError{}
	}
	return err
}

// adminURL makes a URL of what was given: HOST:PORT will do.
func adminURL(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("--address %q: want http://HOST:PORT", address)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func ask(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", url, err)
	}
	client := &http.Client{Transport: &http.Transport{}} // no proxy lies between us and the daemon
	resp, err := client.Do(req)
	if err != nil {
		return nil, hintedError{fmt.Errorf("the daemon does not answer: %w", err),
			"Does it run, and is that its admin port (--listen)? Give another one with --address, or see what is stored with --data-dir."}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: is that the admin port of an lbshipd of this version?", url, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxStatusBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return body, nil
}

// storedStatus shows what a data directory holds.
func storedStatus(w io.Writer, o *statusOptions) error {
	stored, err := positions.ReadLedger(o.dataDir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds no positions: has lbshipd run with --data-dir %s?", filepath.Clean(o.dataDir), o.dataDir)
	}
	if errors.Is(err, os.ErrPermission) {
		return hintedError{err, permissionHint("the data directory")}
	}
	if err != nil {
		return err
	}
	rows := admin.StoredRows(stored)
	if o.output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Ledger []admin.LedgerStatus `json:"ledger"`
		}{rows})
	}
	return printLedger(w, rows)
}
