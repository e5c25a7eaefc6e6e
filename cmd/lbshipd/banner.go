package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/lbshipd/lbshipd/config"
)

// banner is the first screen: what is read, where it goes, how to change that.
func banner(w io.Writer, o *runOptions, from string, cfg *config.Config, admin string) {
	if cfg == nil {
		cfg = &config.Config{}
	}
	fmt.Fprintf(w, "lbshipd %s\n", ownVersion())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  config\t%s\n", from)
	for i := range cfg.Sources {
		fmt.Fprintf(t, "  reads\t%s\n", describeSource(&cfg.Sources[i]))
	}
	for i := range cfg.Targets {
		fmt.Fprintf(t, "  sends to\t%s\n", describeTarget(&cfg.Targets[i]))
	}
	fmt.Fprintf(t, "  state\t%s\n", filepath.Join(o.dataDir, "positions"))
	fmt.Fprintf(t, "  admin\t%s\n", admin)
	t.Flush()
	if o.config == "" && len(o.etcd.endpoints) == 0 {
		fmt.Fprint(w, `To change that, write a YAML file with sources and targets (see docs/configuration.md), then
  lbshipd check FILE
  lbshipd run --config FILE
It is read again whenever it changes. Try it now: logger hello
`)
	}
	fmt.Fprintln(w)
}

func describeSource(s *config.Source) string {
	var what string
	switch {
	case s.Journald != nil:
		what = describeJournal(s.Journald)
	case s.File != nil:
		what = "files " + strings.Join(s.File.Paths, ", ")
	}
	what += ", format " + s.LogFormat
	if s.MinLevel != 0 {
		what += ", from level " + s.MinLevel.String()
	}
	if s.StartAt == "beginning" {
		what += ", from the beginning"
	} else {
		what += ", from now on"
	}
	return s.Name + ": " + what + disabled(s.IsEnabled())
}

func describeJournal(j *config.JournaldSource) string {
	what := "this machine's journal"
	if j.Directory != "" {
		what = "journal " + j.Directory
	} else if !hasJournal() {
		what += " (there is none yet)"
	}
	if len(j.Units) > 0 {
		what += ", units " + strings.Join(j.Units, ", ")
	}
	if len(j.Identifiers) > 0 {
		what += ", identifiers " + strings.Join(j.Identifiers, ", ")
	}
	if len(j.Matches) > 0 {
		what += ", " + strings.Join(j.Matches, ", ")
	}
	return what
}

// hasJournal reports whether journald keeps a journal here.
func hasJournal() bool {
	for _, dir := range []string{"/var/log/journal", "/run/log/journal"} {
		if found, _ := filepath.Glob(dir + "/*/*.journal"); len(found) > 0 {
			return true
		}
		if _, err := os.Stat(dir); err == nil {
			return true
		}
	}
	return false
}

func describeTarget(t *config.Target) string {
	var what string
	switch {
	case t.Loki != nil:
		what = "Loki " + t.Loki.URL
	case t.Rsyslog != nil:
		what = "syslog " + t.Rsyslog.Protocol + "://" + strings.Join(t.Rsyslog.AllAddresses(), ", ")
	case t.Stdout != nil:
		what = "standard output as " + t.Stdout.Format
	}
	return t.Name + ": " + what + disabled(t.IsEnabled())
}

func disabled(enabled bool) string {
	if enabled {
		return ""
	}
	return " (disabled)"
}
