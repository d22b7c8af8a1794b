"""Impact: who is affected by an incident, how badly, and the severity that follows."""
