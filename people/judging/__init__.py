"""How a system is judged: ranking under the protocols, how sure a number is, and pictures of what was found."""
