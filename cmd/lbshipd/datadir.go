package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// defaultDataDir is where systemd says (StateDirectory=), else what root and
// users have for such things.
func defaultDataDir() string { return dataDirOf(os.Getenv, os.Geteuid() == 0) }

// dataDirOf is defaultDataDir of a process with the given environment.
func dataDirOf(getenv func(string) string, root bool) string {
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if root {
		return "/var/lib/lbshipd"
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "lbshipd")
	}
	return filepath.Join(getenv("HOME"), ".local", "state", "lbshipd")
}

// dataDirFlag adds --data-dir.
func dataDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "data-dir", defaultDataDir(), "directory of the daemon's state (positions)")
	documentDefault(c, "data-dir", "$STATE_DIRECTORY, /var/lib/lbshipd for root, else ~/.local/state/lbshipd")
}

// documentDefault gives the reference a default that is the same on every machine.
func documentDefault(c *cobra.Command, name, text string) {
	if err := c.Flags().SetAnnotation(name, "default", []string{text}); err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}
