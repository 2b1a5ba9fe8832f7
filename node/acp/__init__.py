"""The adapter: an agent that speaks the Agent Client Protocol, made an agent of the agent socket.

A process of its own, held by a keeper like any spawned program, with the ACP agent as its child. Protocol:
https://agentclientprotocol.com, version 1. `conversation`, `tool_calls` and `session_card` are pure.
"""
