package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/doctor"
)

const doctorIntro = "<!-- Made by \"go run ./internal/docgen\" from cmd/lbshipd/doctor/kinds.go. Do not edit it here. -->\n\n" + `# What lbshipd doctor finds

    lbshipd doctor              # on the node, as root
    lbshipd doctor -o json      # for programs
    lbshipd doctor --list       # this list

It looks at the daemon that runs here, with the flags that it was started with, or at what its unit would start; with ` + "`--config` or `--etcd-endpoints`" + ` at that
configuration. It reads as the daemon's user would read (the kernel is asked, so ACLs and groups count), tests each target up to the point where a record would be sent, and asks the
running daemon. It changes nothing, runs no program, sends no record, prints no secret, and ends within ` + "`--timeout`" + ` (30 s).

| exit code | meaning |
|---|---|
| 0 | nothing was found |
| 1 | warnings only |
| 2 | errors |
| 3 | it could not look: wrong usage |

What it could not look at (another user's files without being root, a check that hung) is listed at the end, with the reason, and changes no exit code.

Each finding has an id that stays the same, where it is, what was found, why it matters and what mends it, with the command. In JSON:

` + "```json" + `
{"status": "error", "version": "1.0.0", "daemon": "...", "findings": [{"id": "target-refused", "level": "error", "where": "target \"siem\"",
  "what": "...", "why": "...", "mend": [{"say": "...", "run": "..."}]}], "checks": [{"name": "targets", "family": "targets", "status": "found", "seconds": 0.1}]}
` + "```" + `

` + "`status`" + ` of a check is ` + "`ok`, `found` or `not-made`" + ` (with a reason; in part or at all).

`

// doctorPage writes docs/doctor.md.
func doctorPage(string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(doctorIntro)
	out.WriteString("| id | level | what is found | why it matters | what mends it |\n|---|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, k := range doctor.Kinds() {
		if seen[k.ID] || k.What == "" || k.Why == "" || k.Mend == "" || strings.Trim(k.ID, "abcdefghijklmnopqrstuvwxyz-") != "" {
			return nil, fmt.Errorf("the kind of finding %q is there twice, or something of it is missing", k.ID)
		}
		seen[k.ID] = true
		fmt.Fprintf(&out, "| <a id=\"%s\"></a>`%s` | %s | %s | %s | %s |\n", k.ID, k.ID, k.Level, escape(k.What), escape(k.Why), escape(k.Mend))
	}
	return out.Bytes(), nil
}
