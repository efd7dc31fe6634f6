"""What a shell needs to complete our words on TAB."""

from __future__ import annotations

from typing import Literal

from hybridsearch.cli.apps import app

# The library's zsh script only defines its function, so it completes nothing unless its file has
# that function's name. This serves a file of any name in $fpath, and `source` too.
ZSH_ENTRY = """\
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _cyclopts_hybridsearch "$@"
else
  compdef _cyclopts_hybridsearch hybridsearch
fi"""


@app.command
def completion(shell: Literal["bash", "zsh", "fish", "powershell"], /) -> int:
    """Print a script with which a shell completes commands and settings on TAB.

    Nothing is installed. For this session: source <(hybridsearch completion bash), in zsh after
    compinit, in fish: hybridsearch completion fish | source. For good, write it where the shell
    looks: ~/.local/share/bash-completion/completions/hybridsearch for bash, _hybridsearch in a
    folder of $fpath for zsh, ~/.config/fish/completions/hybridsearch.fish for fish.

    Parameters
    ----------
    shell
        bash, zsh, fish or powershell.
    """
    script = app.generate_completion(prog_name="hybridsearch", shell=shell)
    print(f"{script.rstrip()}\n\n{ZSH_ENTRY}" if shell == "zsh" else script)
    return 0
