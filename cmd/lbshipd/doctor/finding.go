package doctor

import (
	"fmt"
	"strings"

	"github.com/lbshipd/lbshipd/internal/oneline"
)

// Level is how bad something is.
type Level string

// The levels. An error keeps records from being read or taken, or endangers
// them; a warning will, or may.
const (
	OK      Level = "ok"
	Warning Level = "warning"
	Error   Level = "error"
)

func (l Level) rank() int {
	switch l {
	case Error:
		return 2
	case Warning:
		return 1
	}
	return 0
}

// maxText bounds each text of a finding, in bytes.
const maxText = 1 << 10

// Finding is one thing that is not as it should be.
type Finding struct {
	ID    string   `json:"id"` // of its Kind: stable
	Level Level    `json:"level"`
	Where string   `json:"where"` // a path, or such as target "siem"
	What  string   `json:"what"`  // one line, without secrets
	Why   string   `json:"why"`   // why it matters
	Mend  []Remedy `json:"mend"`  // what to do, in this order

	probed     bool // found by testing a target
	secondhand bool // what the daemon says, of which a test of the target may tell more
}

// Remedy is one step to mend something.
type Remedy struct {
	Say string `json:"say"`           // in words
	Run string `json:"run,omitempty"` // the command, empty if there is none that could be given
}

// run is a Remedy with its command.
func run(say, format string, args ...any) Remedy {
	return Remedy{oneLine(say), oneLine(fmt.Sprintf(format, args...))}
}

// say is a Remedy in words.
func say(format string, args ...any) Remedy {
	return Remedy{Say: oneLine(fmt.Sprintf(format, args...))}
}

// found makes a finding of a kind.
func found(id, where, what string, mend ...Remedy) Finding {
	k := kindOf(id)
	return Finding{ID: id, Level: k.Level, Where: oneLine(where), What: oneLine(what), Why: k.Why, Mend: mend}
}

// at gives a finding another level than its kind has.
func (f Finding) at(l Level) Finding {
	f.Level = l
	return f
}

func oneLine(text string) string { return oneline.Of(strings.ReplaceAll(text, "\n", "; "), maxText) }

// quoted makes a word of a shell's command line of any text.
func quoted(text string) string {
	plain := text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-:@=,+", r))
	})
	if plain {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
