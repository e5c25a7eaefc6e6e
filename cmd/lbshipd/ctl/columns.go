package ctl

import (
	"fmt"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// column is one column of a kind's table.
type column struct {
	title string
	wide  bool // with -o wide only
	cell  func(t tree) string
}

func cell(title string, path ...string) column {
	return column{title: title, cell: func(t tree) string { return t.text(path...) }}
}

func wide(c column) column {
	c.wide = true
	return c
}

var nameColumn = cell("NAME", "name")

// columns are what get shows of each kind.
var columns = map[config.Kind][]column{
	config.KindSource: {nameColumn, {title: "ENABLED", cell: enabled}, {title: "READS", cell: sourceKind}, cell("FORMAT", "logFormat"),
		cell("MIN-LEVEL", "minLevel"), {title: "WHAT", cell: sourceWhat}, wide(cell("LABELS", "labels")), wide(cell("START", "startAt")),
		wide(column{title: "NODES", cell: nodes})},
	config.KindTarget: {nameColumn, {title: "ENABLED", cell: enabled}, {title: "KIND", cell: targetKind}, {title: "ADDRESS", cell: targetAddress},
		{title: "TLS-BUNDLE", cell: targetBundle}, wide(cell("START", "startAt")), wide(cell("QUEUE", "queueBytes")),
		wide(cell("SPOOL", "spool", "maxBytes")), wide(cell("DEAD-LETTERS", "deadLetters", "maxBytes")), wide(column{title: "NODES", cell: nodes})},
	config.KindTLSBundle: {nameColumn, cell("SUBJECT", "subject"), cell("ISSUER", "issuer"), {title: "EXPIRES", cell: expires},
		wide(cell("VALID-FROM", "notBefore")), wide(cell("FINGERPRINT", "fingerprint"))},
	config.KindFormat:  {nameColumn, cell("REGEX", "regex"), cell("TIME-LAYOUT", "timeLayout")},
	config.KindService: {nameColumn, cell("FORMAT", "logFormat")},
}

func enabled(t tree) string {
	if t.at("enabled") == false {
		return "no"
	}
	return "yes"
}

func sourceKind(t tree) string {
	if t.at("file") != nil {
		return "files"
	}
	return "journald"
}

// sourceWhat says what of the journal, or which files.
func sourceWhat(t tree) string {
	if t.at("file") != nil {
		return t.text("file", "paths")
	}
	var parts []string
	for _, field := range []string{"units", "identifiers", "matches", "directory"} {
		if text := t.text("journald", field); text != "" {
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " ")
}

func targetKind(t tree) string {
	for _, kind := range []string{"loki", "stdout"} {
		if t.at(kind) != nil {
			return kind
		}
	}
	if protocol := t.text("rsyslog", "protocol"); protocol != "" {
		return "rsyslog (" + protocol + ")"
	}
	return "rsyslog"
}

func targetAddress(t tree) string {
	for _, path := range [][]string{{"loki", "url"}, {"rsyslog", "address"}, {"rsyslog", "addresses"}} {
		if text := t.text(path...); text != "" {
			return text
		}
	}
	return ""
}

func targetBundle(t tree) string {
	if text := t.text("loki", "tlsBundle"); text != "" {
		return text
	}
	return t.text("rsyslog", "tlsBundle")
}

func nodes(t tree) string {
	both := strings.TrimSpace(t.text("nodes") + " " + t.text("nodeSelector"))
	if both == "" {
		return "all"
	}
	return both
}

// expires says when a certificate ends, and in how long.
func expires(t tree) string {
	text := t.text("notAfter")
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return text
	}
	day := at.UTC().Format(time.DateOnly)
	left := time.Until(at)
	if left < 0 {
		return day + " (expired)"
	}
	return day + " (in " + screen.Rough(left) + ")"
}

// ago says how long a time is past.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s ago", screen.Rough(now.Sub(at)))
}
